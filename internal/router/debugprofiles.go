package router

import (
	"bytes"
	"net/http"

	"motley/internal/pool"
)

// debugProfiles answers with what is learned, as the CSV that a configuration
// lists under profiles.
func (s *Server) debugProfiles(w http.ResponseWriter, _ *http.Request) {
	var out bytes.Buffer
	if err := pool.WriteProfiles(&out, s.cfg.Learned()); err != nil {
		s.log.Error("cannot tell what is learned", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	_, _ = w.Write(out.Bytes()) // the client may be gone
}
