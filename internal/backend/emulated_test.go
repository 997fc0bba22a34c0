package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"

	"motley/internal/oip"
	"motley/internal/pool"
)

// newTestEmulated takes exactly 9 ms and 1 ms per item.
func newTestEmulated(t *testing.T) *Emulated {
	t.Helper()
	profile, err := pool.NewProfile([]pool.Point{
		{Batch: 1, Mean: 10 * time.Millisecond, P99: 10 * time.Millisecond},
		{Batch: 100, Mean: 109 * time.Millisecond, P99: 109 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEmulated(EmulatedConfig{Type: "g4dn.xlarge", Profile: profile, Seed: 1, MaxBatch: 100, Models: []string{"m"}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func call(t *testing.T, body string) *Call {
	t.Helper()
	r := &oip.Request{Model: "m"}
	if err := r.Parse([]byte(body), -1, &oip.Limits{}); err != nil {
		t.Fatal(err)
	}
	return &Call{Request: r}
}

func TestEmulatedEchoesEachItsOwnRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newTestEmulated(t)
		a := call(t, `{"id":"a","inputs":[{"name":"x","shape":[2,1],"datatype":"UINT8","data":[1,2]}]}`)
		b := call(t, `{"id":"b","inputs":[{"name":"x","shape":[1,1],"datatype":"UINT8","data":[7]}]}`)
		start := time.Now()
		if err := e.Run(context.Background(), "m", []*Call{a, b}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 12*time.Millisecond {
			t.Errorf("three items took %v, the profile says 12 ms", took)
		}
		for c, want := range map[*Call][]byte{a: {1, 2}, b: {7}} {
			var r struct {
				ID         string
				Parameters map[string]string
				Outputs    []struct {
					Name string
					Data []uint64
				}
			}
			if err := json.Unmarshal(c.Response.Body, &r); err != nil {
				t.Fatalf("%v in %s", err, c.Response.Body)
			}
			if r.Parameters["emulated"] != "g4dn.xlarge" || len(r.Outputs) != 2 || len(r.Outputs[0].Data) != len(want) {
				t.Fatalf("got %s", c.Response.Body)
			}
			for i, v := range want {
				if r.Outputs[0].Data[i] != uint64(v) || r.Outputs[1].Data[i] != xxhash.Sum64([]byte{v}) {
					t.Errorf("row %d of %s: %s", i, r.ID, c.Response.Body)
				}
			}
		}
	})
}

// TestLognormal draws the law and compares its mean and 99th percentile with
// what was asked for.
func TestLognormal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, ratio := range []float64{1.01, 1.3, 3} {
		mean := 10 * time.Millisecond
		p99 := time.Duration(ratio * float64(mean))
		const n = 400_000
		draws := make([]float64, n)
		sum := 0.0
		for i := range draws {
			draws[i] = float64(lognormal(mean, p99, rng.NormFloat64()))
			sum += draws[i]
		}
		slices.Sort(draws)
		if got := sum / n / float64(mean); math.Abs(got-1) > 0.01 {
			t.Errorf("p99/mean %v: mean is off by the factor %v", ratio, got)
		}
		if got := draws[n*99/100] / float64(p99); math.Abs(got-1) > 0.02 {
			t.Errorf("p99/mean %v: p99 is off by the factor %v", ratio, got)
		}
	}
	if lognormal(5, 4, 3) != 5 || lognormal(0, 4, 3) != 0 {
		t.Error("a p99 under the mean must mean no variation")
	}
}

func TestEmulatedTakesTurnsAndDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newTestEmulated(t)
		start := time.Now()
		ends := make(chan error, 3)
		for i := range 3 {
			go func() {
				err := e.Run(context.Background(), "m", []*Call{call(t, fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,1],"datatype":"UINT8","data":[%d]}]}`, i))})
				ends <- err
			}()
		}
		if err := <-ends; err != nil || time.Since(start) != 10*time.Millisecond {
			t.Fatalf("first: %v after %v", err, time.Since(start))
		}
		if err := <-ends; err != nil || time.Since(start) != 20*time.Millisecond {
			t.Fatalf("second: %v after %v; one batch at a time", err, time.Since(start))
		}
		e.Kill()
		var broken *Error
		if err := <-ends; !errors.As(err, &broken) || broken.Class != Connect || time.Since(start) != 20*time.Millisecond {
			t.Fatalf("third: %v after %v", err, time.Since(start))
		}
		if _, err := e.Probe(context.Background(), "m"); err == nil {
			t.Error("a killed worker is ready")
		}
		e.Revive()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		err := e.Run(ctx, "m", []*Call{call(t, `{"inputs":[{"name":"x","shape":[1,1],"datatype":"UINT8","data":[1]}]}`)})
		if !errors.As(err, &broken) || broken.Class != Timeout {
			t.Errorf("past its context: %v", err)
		}
	})
}
