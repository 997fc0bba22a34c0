package router

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Mount adds what operators ask for to a mux: /metrics, in the format that the
// scraper asks for, and /debug/state, /debug/exits, /debug/profiles and
// /debug/pool. They tell of workers and of everybody's load, so they do not
// belong on the listener that clients reach.
func (s *Server) Mount(mux *http.ServeMux) {
	if s.cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	}
	if s.cfg.Learned != nil {
		mux.HandleFunc("GET /debug/profiles", s.debugProfiles)
	}
	mux.HandleFunc("GET /debug/state", page(s.debugState))
	mux.HandleFunc("GET /debug/exits", page(s.debugExits))
	mux.HandleFunc("GET /debug/pool", page(s.debugPool))
}

// page answers with what get returns, in JSON.
func page(get func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		b, err := json.Marshal(get())
		if err != nil {
			http.Error(w, fmt.Sprintf("cannot encode the answer: %v", err), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // the client may be gone
	}
}
