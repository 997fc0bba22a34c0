package router

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"motley/internal/pool"
)

// debugProfiles answers with what is learned, as the CSV that a configuration
// lists under profiles.
func (s *Server) debugProfiles(ctx *fasthttp.RequestCtx) {
	if s.cfg.Learned == nil {
		writeError(ctx, fasthttp.StatusNotFound, "Not Found")
		return
	}
	var out bytes.Buffer
	if err := pool.WriteProfiles(&out, s.cfg.Learned()); err != nil {
		s.log.Error("cannot tell what is learned", "error", err)
		writeError(ctx, fasthttp.StatusInternalServerError, err.Error())
		return
	}
	ctx.SetContentType("text/csv; charset=utf-8")
	ctx.SetBody(out.Bytes())
}
