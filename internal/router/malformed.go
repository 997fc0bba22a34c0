package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/http1"
)

// malformed answers a request that the HTTP library has not got whole: it is not well-formed
// HTTP, is too large, or did not arrive in time. The connection is closed afterwards.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	c, ok := ctx.Conn().(*clientConn)
	if ok && c.raised {
		s.turnDown(ctx, c.fault, peerOf(ctx.RemoteAddr()))
		return
	}
	s.begin(ctx)
	var late interface{ Timeout() bool }
	if ok && c.came.began == 0 && !(errors.As(err, &late) && late.Timeout()) {
		// No request has begun: the client has gone, or TLS has failed. The library wants an
		// answer nonetheless.
		writeError(ctx, fasthttp.StatusBadRequest, "malformed HTTP request")
		return
	}
	if !s.unread(ctx, err) {
		s.turnDown(ctx, s.transportFault(err), peerOf(ctx.RemoteAddr()))
	}
}

// begin makes an answer ready to be written, and names it.
func (s *Server) begin(ctx *fasthttp.RequestCtx) (id []byte) {
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	ctx.Response.Header.SetServer(s.cfg.Name)
	id = appendRequestID(nil, nil)
	ctx.Response.Header.SetBytesV(headerRequestID, id)
	return id
}

// turnDown answers a request of which it is not certain, or does not matter, what it asks
// for.
func (s *Server) turnDown(ctx *fasthttp.RequestCtx, f *http1.Fault, peer netip.AddrPort) {
	if !f.Retry {
		s.metrics.malformed.Inc()
	}
	id := s.begin(ctx)
	if f.Retry {
		s.reply(ctx, failure{status: f.Status, text: f.Text, retry: true, after: time.Second})
	} else {
		writeError(ctx, f.Status, f.Text)
	}
	s.reportMalformed(ctx, id, peer, f)
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "malformed request",
		slog.Int("status", f.Status), slog.String("error", f.Text))
}

// transportFault is what an error of the HTTP library comes to: that of a request that the guard
// had nothing to say against, or of none.
func (s *Server) transportFault(err error) *http1.Fault {
	var late interface{ Timeout() bool }
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return &http1.Fault{Status: fasthttp.StatusRequestEntityTooLarge, Text: bodyTooLarge(s.cfg.MaxBody)}
	case errors.As(err, &late) && late.Timeout() && s.end.over.Load():
		return errEnding
	case errors.As(err, &late) && late.Timeout():
		return &http1.Fault{Status: fasthttp.StatusRequestTimeout, Text: fmt.Sprintf("request did not arrive within %v", s.cfg.ReadTimeout)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return http1.CutBody
	}
	return &http1.Fault{Status: fasthttp.StatusBadRequest, Text: "malformed HTTP request"}
}

func bodyTooLarge(limit int) string {
	return fmt.Sprintf("request body is over the limit of %d bytes", limit)
}
