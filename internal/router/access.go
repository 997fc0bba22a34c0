package router

import (
	"context"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"
)

// accessEntry is what the log's line of a request is made of, besides its
// exchange.
type accessEntry struct {
	method, path string
	in, out      int    // bytes of the bodies
	failure      string // the error text of the answer
}

func entryOf(ctx *fasthttp.RequestCtx) accessEntry {
	return accessEntry{method: string(ctx.Method()), path: string(ctx.Path()), in: len(ctx.Request.Body())}
}

// logAccess writes the line of a request that was answered at once.
func (s *Server) logAccess(ctx *fasthttp.RequestCtx, x *exchange, status int, took time.Duration) {
	if !s.log.Enabled(context.Background(), accessLevel(status)) {
		return
	}
	e := entryOf(ctx)
	e.out = len(ctx.Response.Body())
	if status >= 400 {
		e.failure = string(cut(ctx.Response.Body()))
	}
	s.writeAccess(&e, x, status, took)
}

// accessLevel is debug, and warning where the answer is 500 or above.
func accessLevel(status int) slog.Level {
	if status >= 500 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// writeAccess writes one line per request. Bodies, query strings and headers
// other than the two identifiers are not logged.
func (s *Server) writeAccess(e *accessEntry, x *exchange, status int, took time.Duration) {
	level := accessLevel(status)
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs,
		slog.String("method", e.method),
		slog.String("path", e.path),
		slog.Int("status", status),
		slog.Duration("took", took),
		slog.Int("bytes_in", e.in),
		slog.Int("bytes_out", e.out),
		slog.String("request_id", string(x.id)),
	)
	if t := &x.call.Call.Trace; t.Valid() {
		attrs = append(attrs, slog.String("traceparent", string(t.Append(nil))))
	}
	if x.ran {
		attrs = append(attrs,
			slog.Int("items", x.call.Size), slog.Int("batch", x.call.Batch), slog.Int("attempts", x.call.Attempts),
			slog.Duration("queued", x.call.Queued), slog.Duration("ran", x.call.Ran))
		if x.call.Exit >= 0 {
			attrs = append(attrs, slog.Int("exit", x.call.Exit))
		}
	}
	if e.failure != "" {
		attrs = append(attrs, slog.String("error", e.failure))
	}
	s.log.LogAttrs(context.Background(), level, "request", attrs...)
}
