package profiler

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/oip"
)

func ready() backend.Status {
	return backend.Status{Ready: true, Binary: true, Metadata: &oip.ModelMetadata{
		Name:    "m",
		Inputs:  []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 4, -1}}},
		Outputs: []oip.TensorMetadata{{Name: "y", Datatype: oip.FP32, Shape: []int64{-1, 1}}},
	}}
}

func server(items func(n int) time.Duration) *backendtest.Fake {
	f := &backendtest.Fake{Latency: func(_ string, n int) time.Duration { return items(n) }}
	f.SetStatus("m", ready(), nil)
	return f
}

func lawful(n int) time.Duration { return time.Duration(affine(n)) }

func target(f *backendtest.Fake) Target {
	return Target{Model: "m", Type: "t", Worker: "w", Backend: f, Share: 1}
}

func recording(t *testing.T, bodies ...string) *Recording {
	rec, err := ReadRecording(strings.NewReader(strings.Join(bodies, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func failure(class backend.Class, text string) error {
	return &backend.Error{Class: class, Status: 502, Message: text}
}

func items(calls []*backend.Call) int {
	n := 0
	for _, c := range calls {
		n += backendtest.FirstDimension(c)
	}
	return n
}

// What Measure makes of workers of all kinds, in the time of a bubble.
func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		name    string
		opt     Options
		prepare func(f *backendtest.Fake, to *Target)
		latency func(n int) time.Duration // default lawful
		err     string                    // contained; "" = none
		ended   string
		note    string
		refused string
		largest int
		sizes   int // -1: any
		check   func(t *testing.T, r Result, f *backendtest.Fake)
	}{
		{name: "plain", ended: endLaw, largest: 128, sizes: 4, check: func(t *testing.T, r Result, f *backendtest.Fake) {
			if math.Abs(float64(r.Law.Fixed)/trueFixed-1) > 1e-6 || math.Abs(float64(r.Law.PerItem)/trueItem-1) > 1e-6 {
				t.Errorf("the law is %v + %v", r.Law.Fixed, r.Law.PerItem)
			}
			if r.Took > 2*time.Second {
				t.Errorf("it took %v", r.Took)
			}
		}},
		{name: "a budget is kept", opt: Options{Budget: 300 * time.Millisecond}, ended: "the budget is spent", largest: 24, sizes: -1, note: "batches of 32 and more are left out"},
		{name: "a budget for nothing", opt: Options{Budget: 4 * time.Millisecond}, err: "the budget was spent before", ended: "the budget is spent", largest: 1, note: "did not settle"},
		{name: "a share is kept", prepare: func(_ *backendtest.Fake, to *Target) { to.Share = 0.2 }, ended: endLaw, largest: 128, sizes: 4,
			check: func(t *testing.T, r Result, f *backendtest.Fake) {
				all := f.Batches()
				for i := 1; i < len(all); i++ {
					busy, whole := all[i-1].End.Sub(all[i-1].Start), all[i].Start.Sub(all[i-1].Start)
					if busy*5 > whole+time.Microsecond {
						t.Fatalf("run %d: busy for %v of %v", i, busy, whole)
					}
				}
				if s := r.busyShare(); s > 0.2001 {
					t.Errorf("busy %v of the time", s)
				}
			}},
		{name: "the configuration's largest", prepare: func(_ *backendtest.Fake, to *Target) { to.MaxBatch = 8 }, ended: endLaw, largest: 8, sizes: 4},
		{name: "the worker's largest", prepare: func(f *backendtest.Fake, to *Target) {
			s := ready()
			s.MaxBatch = 8
			f.SetStatus("m", s, nil)
			to.MaxBatch = 100
		}, opt: Options{Batches: []int{16, 1, 8, 8}}, ended: endAll, largest: 8, sizes: 2, refused: "takes at most 8"},
		{name: "only larger than it takes", prepare: func(f *backendtest.Fake, to *Target) {
			s := ready()
			s.MaxBatch = 8
			f.SetStatus("m", s, nil)
		}, opt: Options{Batches: []int{16}}, err: "takes at most 8, and only larger", refused: "takes at most 8"},
		{name: "does not batch", prepare: func(f *backendtest.Fake, to *Target) { to.Batched = new(false) }, ended: endAll, largest: 1, sizes: 1},
		{name: "refuses 8", prepare: func(f *backendtest.Fake, _ *Target) {
			f.Fail = func(_ string, calls []*backend.Call) error {
				if items(calls) >= 8 {
					return failure(backend.Client, "too many rows")
				}
				return nil
			}
		}, ended: endLaw, largest: 6, sizes: 4, refused: "a batch of 8 is refused: too many rows"},
		{name: "refuses 8, by member", prepare: func(f *backendtest.Fake, _ *Target) {
			f.Fail = func(_ string, calls []*backend.Call) error {
				if items(calls) >= 8 {
					calls[0].Err = failure(backend.Client, "too many rows")
				}
				return nil
			}
		}, ended: endLaw, largest: 6, sizes: 4, refused: "a batch of 8 is refused: too many rows"},
		{name: "refuses what was not on the ladder", latency: func(n int) time.Duration { return time.Duration(stepped(n)) }, prepare: func(f *backendtest.Fake, to *Target) {
			to.MaxBatch = 8
			f.Fail = func(_ string, calls []*backend.Call) error {
				if n := items(calls); n == 6 {
					return failure(backend.Client, "not six")
				}
				return nil
			}
		}, ended: endAll, largest: 8, sizes: 4, refused: "a batch of 6 is refused: not six"},
		{name: "out of memory at 32", prepare: func(f *backendtest.Fake, _ *Target) {
			f.Fail = func(_ string, calls []*backend.Call) error {
				if items(calls) >= 32 {
					return failure(backend.Server, "out of memory")
				}
				return nil
			}
		}, ended: endLaw, largest: 24, sizes: 4, refused: "a batch of 32 is refused: it failed 3 times in a row: out of memory"},
		{name: "refuses everything", prepare: func(f *backendtest.Fake, _ *Target) {
			f.Fail = func(string, []*backend.Call) error { return failure(backend.Client, "no such input") }
		}, err: "a batch of 1 is refused: no such input"},
		{name: "fails half the time", prepare: func(f *backendtest.Fake, _ *Target) {
			var n atomic.Int32
			f.Fail = func(string, []*backend.Call) error {
				if n.Add(1)%2 == 0 {
					return failure(backend.Server, "boom")
				}
				return nil
			}
		}, err: "5 of 10 runs failed, the last one with: boom", largest: 1},
		{name: "fails once in a while", prepare: func(f *backendtest.Fake, _ *Target) {
			var n atomic.Int32
			f.Fail = func(string, []*backend.Call) error {
				if n.Add(1)%30 == 0 {
					return failure(backend.Timeout, "late")
				}
				return nil
			}
		}, ended: endLaw, largest: 128, sizes: 4},
		{name: "down", prepare: func(f *backendtest.Fake, _ *Target) { f.Kill() }, err: "the worker does not answer"},
		{name: "not ready", prepare: func(f *backendtest.Fake, _ *Target) { f.SetStatus("m", backend.Status{}, nil) }, err: "model 'm' is not ready"},
		{name: "dies in the middle", prepare: func(f *backendtest.Fake, _ *Target) {
			f.Started = func(_ string, calls []*backend.Call) {
				if items(calls) == 16 {
					f.Kill()
				}
			}
		}, err: "batch 16 failed", largest: 8},
		{name: "is not ready any more", latency: func(int) time.Duration { return 50 * time.Millisecond }, opt: Options{Budget: time.Minute}, prepare: func(f *backendtest.Fake, _ *Target) {
			var n atomic.Int32
			f.Started = func(string, []*backend.Call) {
				if n.Add(1) == 60 {
					f.SetStatus("m", backend.Status{}, nil)
				}
			}
		}, err: "is not ready", largest: 128, sizes: -1, check: func(t *testing.T, r Result, f *backendtest.Fake) {
			if r.Runs > 80 || len(r.Sizes) == 0 {
				t.Errorf("%d runs and %d sizes, though it was not ready any more after 60", r.Runs, len(r.Sizes))
			}
		}},
		{name: "tells no inputs", prepare: func(f *backendtest.Fake, _ *Target) { f.SetStatus("m", backend.Status{Ready: true}, nil) }, err: "tells the model's inputs"},
		{name: "inputs from the configuration", prepare: func(f *backendtest.Fake, to *Target) {
			f.SetStatus("m", backend.Status{Ready: true}, nil)
			to.Metadata = ready().Metadata
		}, ended: endLaw, largest: 128, sizes: 4},
		{name: "recorded requests need no inputs told", opt: Options{Recording: recording(t, body(1, 2), body(3, 2))}, prepare: func(f *backendtest.Fake, to *Target) {
			f.SetStatus("m", backend.Status{Ready: true}, nil)
			to.Batched = new(true)
		}, ended: endLaw, largest: 128, sizes: 4},
		{name: "recorded requests of another model", opt: Options{Recording: recording(t, body(1, 2))}, err: "recorded requests: line 1: "},
		{name: "gets slower in the middle", latency: func() func(int) time.Duration {
			var runs atomic.Int32
			return func(n int) time.Duration {
				if runs.Add(1) > 50 {
					return 2 * lawful(n)
				}
				return lawful(n)
			}
		}(), largest: 128, sizes: -1, note: "batches took ×2.00 of what they took before"},
		{name: "pads", latency: func(n int) time.Duration { return time.Duration(stepped(n)) }, ended: endAll, largest: 128, sizes: 14, note: "padded to the next power of two"},
		{name: "warms up", latency: func() func(int) time.Duration {
			var runs atomic.Int32
			return func(n int) time.Duration {
				return lawful(n) + time.Second/time.Duration(math.Pow(3, float64(runs.Add(1))))
			}
		}(), ended: endLaw, largest: 128, sizes: 4, check: func(t *testing.T, r Result, f *backendtest.Fake) {
			if off := r.Law.At(1)/affine(1) - 1; math.Abs(off) > 0.001 {
				t.Errorf("what came first counts: off by %+.4f", off)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.latency == nil {
					c.latency = lawful
				}
				if c.opt.Budget == 0 {
					c.opt.Budget = time.Minute
				}
				f := server(c.latency)
				to := target(f)
				if c.prepare != nil {
					c.prepare(f, &to)
				}
				began := time.Now()
				r := Measure(t.Context(), to, c.opt)
				if took := time.Since(began); took > c.opt.Budget {
					t.Errorf("it took %v of a budget of %v", took, c.opt.Budget)
				}
				if (r.Err != nil) != (c.err != "") || r.Err != nil && !strings.Contains(r.Err.Error(), c.err) {
					t.Errorf("error %v, want one with %q", r.Err, c.err)
				}
				if c.ended != "" && r.Ended != c.ended {
					t.Errorf("ended: %s", r.Ended)
				}
				if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
					t.Errorf("notes: %q, want %q", notes, c.note)
				}
				if !strings.Contains(r.Refused, c.refused) || c.refused == "" && r.Refused != "" || r.Largest != c.largest {
					t.Errorf("largest %d, refused %q", r.Largest, r.Refused)
				}
				if c.sizes >= 0 && len(r.Sizes) != c.sizes {
					t.Errorf("%d sizes: %+v", len(r.Sizes), r.Sizes)
				}
				if c.check != nil {
					c.check(t, r, f)
				}
				if _, peak := f.Running(); peak > 1 {
					t.Errorf("%d batches at once", peak)
				}
			})
		})
	}
}

// Ctrl-C ends it within the run that is under way, and keeps what there is.
func TestMeasureInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		to := target(server(lawful))
		to.Share = 0.5
		shown := 0
		r := Measure(ctx, to, Options{Budget: time.Minute, Progress: func(p Progress) {
			if p.Runs < shown || p.Share < 0 || p.Share > 1 || p.Target.Model != "m" {
				t.Errorf("progress %+v after %d runs", p, shown)
			}
			shown = p.Runs
		}})
		if !errors.Is(r.Err, errInterrupted) || len(r.Sizes) == 0 || r.Took > 501*time.Millisecond || shown == 0 {
			t.Errorf("after %v: %v, %d sizes", r.Took, r.Err, len(r.Sizes))
		}
	})
}
