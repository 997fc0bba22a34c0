package live

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/oip"
	"motley/internal/pool"
)

// setup is a loop to be made: one model "m" on one fake worker per element of
// fakes, all of one type, up, running one batch at a time.
type setup struct {
	fakes []*backendtest.Fake
	core  dispatch.Config // Models and Workers are filled in where empty
	probe ProbeConfig
	state pool.State // of every worker; the zero value is Starting
}

// start makes the loop. Nobody closes it but the test.
func (s setup) start(tb testing.TB) *Loop {
	tb.Helper()
	if s.core.Models == nil {
		s.core.Models = []dispatch.Model{{Name: "m", QoS: time.Minute}}
	}
	if s.core.Policy == nil {
		s.core.Policy, _ = dispatch.NewPolicy("least-load", 1)
	}
	s.core.Types = make([]pool.InstanceType, 1)
	cfg := Config{Core: s.core, Probe: s.probe, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for i, f := range s.fakes {
		cfg.Backends = append(cfg.Backends, f)
		if len(s.core.Workers) > i {
			continue
		}
		w := pool.Worker{Name: fmt.Sprint("w", i), Concurrency: 1, State: s.state}
		for m := range s.core.Models {
			w.Serves = append(w.Serves, pool.Serve{Model: pool.ModelID(m), MaxBatch: math.MaxInt32})
		}
		cfg.Core.Workers = append(cfg.Core.Workers, w)
	}
	l, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func ask(body string, size int) *Request {
	r := &Request{Size: size, MergeKey: 1}
	r.Call.Request = &oip.Request{
		Message: oip.Message{Body: []byte(body), HeadLength: -1},
		Inputs:  []oip.Input{{Shape: []int64{int64(size)}}},
	}
	return r
}

// answered fails the test unless err is nil and r holds the echo of its own
// body.
func answered(tb testing.TB, r *Request, err error) {
	tb.Helper()
	if err != nil {
		tb.Errorf("request %q: %v (cause: %v)", r.Call.Request.Body, err, errors.Unwrap(err))
	} else if got := string(r.Call.Response.Body); got != string(r.Call.Request.Body) {
		tb.Errorf("request %q is answered %q", r.Call.Request.Body, got)
	}
}

// refusedFor fails the test unless err is a Refusal for that reason, which it
// returns.
func refusedFor(tb testing.TB, err error, reason Reason) *Refusal {
	tb.Helper()
	var none *Refusal
	if !errors.As(err, &none) || none.Reason != reason {
		tb.Fatalf("got %v, want a refusal: %v", err, reason)
	}
	return none
}

func closed(tb testing.TB, l *Loop) {
	tb.Helper()
	if err := l.Close(tb.Context()); err != nil {
		tb.Error(err)
	}
}

// takes is a latency that does not depend on the batch.
func takes(d time.Duration) func(string, int) time.Duration {
	return func(string, int) time.Duration { return d }
}

// failing returns a Fail that fails every batch with that class.
func failing(class backend.Class, status int) func(string, []*backend.Call) error {
	return func(string, []*backend.Call) error {
		return &backend.Error{Class: class, Status: status, Message: "told to fail"}
	}
}
