package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"motley/internal/gpu/device"
)

// AgentOptions say how an agent serves.
type AgentOptions struct {
	Source Source
	Every  time.Duration  // between polls of the source; default DefaultEvery
	Jitter func() float64 // see Poller
	// Certificate and Key are PEM files for TLS; empty: plain HTTP.
	Certificate, Key string
	// Record takes a recording of all that is polled; nil: none.
	Record io.Writer
	Log    *slog.Logger
}

// Agent answers for one host: /v1/devices (JSON, a device.Page), /metrics
// (Prometheus text), and /healthz (200 while reads succeed). It answers from
// the last poll, so that no client waits for a driver.
type Agent struct {
	opt    AgentOptions
	poller *Poller
	routes *http.ServeMux
}

// NewAgent returns an agent that has polled nothing yet.
func NewAgent(opt AgentOptions) (*Agent, error) {
	a := &Agent{opt: opt, poller: &Poller{Source: opt.Source, Every: opt.Every, Jitter: opt.Jitter}, routes: http.NewServeMux()}
	if opt.Record != nil {
		a.poller.Note = recorder(opt.Record, opt.Log)
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(NewCollector(func() []*Poller { return []*Poller{a.poller} })); err != nil {
		return nil, fmt.Errorf("cannot make metrics: %w", err)
	}
	a.routes.HandleFunc("GET /v1/devices", a.devices)
	a.routes.HandleFunc("GET /healthz", a.healthz)
	a.routes.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return a, nil
}

// Poll polls until ctx ends, for whoever serves by other means than Serve.
func (a *Agent) Poll(ctx context.Context) { a.poller.Run(ctx) }

// ServeHTTP answers one request.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.routes.ServeHTTP(w, r) }

// Serve polls, and serves on ln, until ctx ends; it closes ln.
func (a *Agent) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler: a, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { a.poller.Run(ctx) })
	wg.Go(func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			server.Close()
		}
	})
	var err error
	if a.opt.Certificate != "" {
		err = server.ServeTLS(ln, a.opt.Certificate, a.opt.Key)
	} else {
		err = server.Serve(ln)
	}
	stop()
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot serve: %w", err)
}

func (a *Agent) devices(w http.ResponseWriter, _ *http.Request) {
	page, _ := a.poller.Latest() // the page says what is missing
	data, err := json.Marshal(page)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(data, '\n')) // who hung up needs no answer
}

func (a *Agent) healthz(w http.ResponseWriter, _ *http.Request) {
	if _, err := a.poller.Latest(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// recorder writes pages as a recording (device.ReadRecording).
func recorder(w io.Writer, log *slog.Logger) func(device.Page) {
	start := time.Now()
	known := map[string]bool{}
	e := json.NewEncoder(w)
	failed := false
	return func(page device.Page) {
		at := time.Since(start).Seconds()
		var err error
		for i := range page.Devices {
			if d := &page.Devices[i]; !known[d.ID] {
				known[d.ID] = true
				err = errors.Join(err, e.Encode(device.Entry{Seconds: at, Device: d}))
			}
		}
		for i := range page.Samples {
			if known[page.Samples[i].Device] {
				err = errors.Join(err, e.Encode(device.Entry{Seconds: at, Sample: &page.Samples[i]}))
			}
		}
		if err != nil && !failed {
			log.Error("the recording is incomplete", "error", err)
		}
		failed = err != nil
	}
}
