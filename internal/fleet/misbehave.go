package fleet

import (
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

// instead does what a fault does in place of an execution. It reports false for
// faults that need one.
func (s *server) instead(ctx *fasthttp.RequestCtx, f *Fault) bool {
	kind := f.Kind
	if kind == "poison" {
		kind = f.Does
	}
	switch kind {
	case "400":
		fail(ctx, http.StatusBadRequest, "a fault was asked for: the request is said to be at fault")
	case "500":
		fail(ctx, http.StatusInternalServerError, "a fault was asked for: internal error")
	case "503":
		fail(ctx, http.StatusServiceUnavailable, "a fault was asked for: overloaded")
	case "garbage":
		ctx.Response.Header.SetContentType("application/json")
		ctx.Response.SetBodyString(`{"model_name":"` + "\x00\xff" + `garbage","outputs":[{]`)
	case "error200":
		ctx.Response.Header.SetContentType("application/json")
		ctx.Response.SetBodyString(`{"error":"a fault was asked for: an error within a 200"}`)
	case "die":
		s.die(f.For)
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(hang)
	case "reset":
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(c net.Conn) { tracked(c).cut() })
	case "hang":
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(hang)
	default:
		return false
	}
	return true
}

// besides does what a fault does to an answer that is ready.
func (s *server) besides(ctx *fasthttp.RequestCtx, f *Fault) {
	switch f.Kind {
	case "close": // without having said so
		ctx.Hijack(func(net.Conn) {})
	case "drip":
		s.write(ctx, func(c net.Conn, answer []byte) { s.drip(c, answer, f.Every) })
	case "cut":
		s.write(ctx, func(c net.Conn, answer []byte) {
			_, _ = c.Write(answer[:s.faults.spot(f, len(answer))]) // whoever has left need not be cut off
			tracked(c).cut()
		})
	case "stall":
		s.write(ctx, func(c net.Conn, answer []byte) {
			if _, err := c.Write(answer[:s.faults.spot(f, len(answer))]); err == nil {
				hang(c)
			}
		})
	}
}

// write has the answer that is ready written by hand, to the connection's end.
func (s *server) write(ctx *fasthttp.RequestCtx, by func(c net.Conn, answer []byte)) {
	ctx.Response.Header.SetContentLength(len(ctx.Response.Body()))
	answer := append(ctx.Response.Header.Header(), ctx.Response.Body()...)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { by(c, answer) })
}

// spoil makes an answer wrong that is ready to be encoded.
func (f *Fault) spoil(out []oip.Tensor) {
	for i := range out {
		t := &out[i]
		switch f.Kind {
		case "rows": // one too many
			resize(t, int(t.Shape[0])+1)
		case "shape": // a dimension that no model has
			t.Shape = append(slices.Clone(t.Shape), 1, 1)
		case "type": // the same bytes, or as many as the other type has
			other := oip.Uint8
			if t.Datatype == other {
				other = oip.Int8
			}
			t.Datatype, t.Data = other, grown(nil, elements(t.Shape))
		}
	}
}

// tracked is the connection that the HTTP server was given.
func tracked(c net.Conn) *conn {
	if h, ok := c.(interface{ UnsafeConn() net.Conn }); ok {
		c = h.UnsafeConn()
	}
	return c.(*conn)
}

// hang waits until the other side leaves, or the server does.
func hang(c net.Conn) {
	var b [512]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
	}
}

// drip writes byte by byte, and closes then.
func (s *server) drip(c net.Conn, answer []byte, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for i := range answer {
		if _, err := c.Write(answer[i : i+1]); err != nil {
			return
		}
		select {
		case <-t.C:
		case <-s.fleet.stopped:
			return
		}
	}
}
