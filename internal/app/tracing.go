package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/config"
	"motley/internal/live"
	"motley/internal/router"
	"motley/internal/tracing"
)

// newTracer makes the tracer that the configuration asks for, and its metrics; nil: it
// asks for none.
func newTracer(c *config.Tracing, version string, registry prometheus.Registerer, log *slog.Logger) (*tracing.Tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	t, err := tracing.New(tracing.Config{
		Endpoint: c.Endpoint, Sample: c.Sample, Headers: c.Headers, Timeout: c.Timeout, Service: c.ServiceName, Version: version, Log: log,
	})
	if err != nil {
		return nil, err
	}
	counter(registry, "motley_traces_sent_total", "Spans that the collector took.", t.Sent)
	counter(registry, "motley_traces_dropped_total", "Spans that were lost: the collector did not take them, or could not keep up.", t.Dropped)
	return t, nil
}

// counter registers a counter that somebody else counts.
func counter(registry prometheus.Registerer, name, help string, read func() uint64) {
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read()) }))
}

// prepareTracing is the preparer of the share that is traced.
func (a *App) prepareTracing(cfg *config.Config) (commit func(), err error) {
	if field := a.cfg.Tracing.Differs(&cfg.Tracing); field != "" {
		return nil, fmt.Errorf("%s cannot change while the router runs", field)
	}
	return func() {
		if a.tracer != nil {
			a.tracer.SetSample(cfg.Tracing.Sample)
		}
	}, nil
}

// closeTracing sends the last spans, for at most as long as ctx, and some seconds.
func (a *App) closeTracing(ctx context.Context) error {
	if a.tracer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return a.tracer.Close(ctx)
}

// observer is told of what ended: the metrics, and of batches with traced members the
// tracer.
type observer struct {
	*router.Metrics
	tracer *tracing.Tracer
}

// BatchDone implements live.Observer.
func (o observer) BatchDone(b live.BatchReport) {
	o.Metrics.BatchDone(b)
	if o.tracer == nil || len(b.Links) == 0 {
		return
	}
	w := o.Worker(b.Worker)
	o.tracer.Batch(&tracing.Batch{
		Number: b.Merged, Start: b.Started, Ran: b.Ran, Model: o.Model(b.Model), Worker: w.Name, Type: w.InstanceType,
		Requests: b.Requests, Items: b.Items, Err: b.Err, Links: append(b.Links[:0:0], b.Links...),
	})
}
