package router

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/access"
	"motley/internal/http1"
)

// Access says who may ask for what.
type Access struct {
	Guard *access.Guard // required
	// TenantHeader is a request header in which a proxy that clients cannot go
	// around names the tenant; empty: none.
	TenantHeader string
}

// SetAccess replaces who may ask for what, for requests that come from now on; nil:
// everybody may everything.
func (s *Server) SetAccess(a *Access) { s.access.Store(a) }

// Access is who may ask for what now; nil: everybody may everything.
func (s *Server) Access() *Access { return s.access.Load() }

// key is what the client shows for a key, as a bearer token or by x-api-key; nil
// where it shows none.
func (h *headers) key() []byte {
	const scheme = "bearer "
	if v := h.authorization; len(v) >= len(scheme) && bytes.EqualFold(v[:len(scheme)], []byte(scheme)) {
		return bytes.TrimSpace(v[len(scheme):])
	}
	return h.apiKey
}

// readTenant and takeTenant fill in h.tenant.
func (s *Server) readTenant(h *headers, from *fasthttp.RequestHeader) {
	if a := s.access.Load(); a != nil && a.TenantHeader != "" {
		h.tenant = from.Peek(a.TenantHeader)
	}
}

func (s *Server) takeTenant(h *headers, from []http1.Field) {
	a := s.access.Load()
	if a == nil || a.TenantHeader == "" {
		return
	}
	for i := range from {
		if bytes.EqualFold(from[i].Name, []byte(a.TenantHeader)) {
			h.tenant = from[i].Value
			return
		}
	}
}

// Identified is a connection of which the other end has shown who it is.
type Identified interface {
	// Subjects are the names of its certificate, which was verified. It is called
	// once per request.
	Subjects() []string
}

func subjects(ctx *fasthttp.RequestCtx) []string {
	if c, ok := ctx.Conn().(*clientConn); ok {
		if who, ok := c.Conn.(Identified); ok {
			return who.Subjects()
		}
	}
	return nil
}

// identified reports whether the client may ask for anything, and answers where it
// may not.
func (s *Server) identified(ctx *fasthttp.RequestCtx, x *exchange) bool {
	a := s.access.Load()
	if a == nil {
		return true
	}
	client := access.Client{Key: x.headers.key(), Subjects: subjects(ctx), Tenant: x.headers.tenant}
	var reason access.Reason
	x.pass, reason = a.Guard.Identify(&client)
	x.call.Tenant = x.pass.Tenant()
	if reason != access.Admitted {
		s.deny(ctx, x, reason, 0)
		return false
	}
	x.tenant = a.Guard.TenantName(x.call.Tenant)
	return true
}

// bars says why the client will be turned away, as far as the head of its request tells;
// Admitted: it may not be.
func (s *Server) bars(from *fasthttp.RequestHeader) access.Reason {
	a := s.access.Load()
	if a == nil {
		return access.Admitted
	}
	var h headers
	h.read(from)
	return a.Guard.Bars(h.key())
}

// bodyLimit is how much of a request's body is read once its head is known: of who will be
// turned away no more than there is room for anyway.
func (s *Server) bodyLimit(from *fasthttp.RequestHeader) (c fasthttp.RequestConfig) {
	if s.bars(from) != access.Admitted {
		c.MaxRequestBodySize = min(maxInPlace, s.cfg.MaxBody)
	}
	return c
}

// admitted reports whether the client may ask for the model, and for one more
// inference where that is what it asks for. It answers where it may not.
func (s *Server) admitted(ctx *fasthttp.RequestCtx, x *exchange) bool {
	if !x.pass.May(x.model.Name) {
		s.deny(ctx, x, access.Model, 0)
		return false
	}
	if x.target.endpoint != modelInfer && x.target.endpoint != modelStream {
		return true
	}
	reason, wait := x.pass.Enter(len(ctx.Request.Body()), x.start.Sub(s.started))
	if reason != access.Admitted {
		s.deny(ctx, x, reason, wait)
		return false
	}
	return true
}

// unread answers a client of whose body no more was read, since it is turned away; false:
// there is another reason.
func (s *Server) unread(ctx *fasthttp.RequestCtx, err error) bool {
	why := s.bars(&ctx.Request.Header)
	if why == access.Admitted || !errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return false
	}
	x := s.acquire(route(ctx.Path()))
	x.headers.read(&ctx.Request.Header)
	s.identify(x)
	x.apply(ctx)
	s.deny(ctx, x, why, 0)
	s.finish(ctx, x)
	return true
}

// deny answers a client that is not let in. Nothing that it showed is repeated.
func (s *Server) deny(ctx *fasthttp.RequestCtx, x *exchange, why access.Reason, wait time.Duration) {
	s.metrics.denied[why].Inc()
	f := failure{status: http.StatusTooManyRequests, retry: true, after: wait}
	switch why {
	case access.NoKey:
		f = failure{status: http.StatusUnauthorized, text: "a key is needed: Authorization: Bearer …, or x-api-key"}
	case access.WrongKey:
		f = failure{status: http.StatusUnauthorized, text: "the key is not known"}
	case access.Model:
		f = failure{status: http.StatusForbidden, text: fmt.Sprintf("the key is not for model '%s'", x.model.Name)}
	case access.Rate:
		f.text = "the key's limit of requests per second is reached"
	case access.Concurrent:
		f.text = "the key's limit of requests under way is reached" // nobody knows when the next one ends
	case access.Bytes:
		f.text = "the key's limit of bytes per second is reached"
	}
	if f.status == http.StatusUnauthorized {
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	}
	s.reply(ctx, f)
}
