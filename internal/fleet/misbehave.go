package fleet

import (
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// instead does what a fault does in place of an execution. It reports false for
// faults that need one.
func (s *server) instead(ctx *fasthttp.RequestCtx, f *Fault) bool {
	switch f.Kind {
	case "500":
		fail(ctx, http.StatusInternalServerError, "a fault was asked for: internal error")
	case "503":
		fail(ctx, http.StatusServiceUnavailable, "a fault was asked for: overloaded")
	case "garbage":
		ctx.Response.Header.SetContentType("application/json")
		ctx.Response.SetBodyString(`{"model_name":"` + "\x00\xff" + `garbage","outputs":[{]`)
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
		ctx.Response.Header.SetContentLength(len(ctx.Response.Body()))
		answer := append(ctx.Response.Header.Header(), ctx.Response.Body()...)
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(c net.Conn) { s.drip(c, answer, f.Every) })
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
