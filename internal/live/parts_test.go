package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/oip"
	"motley/internal/pool"
)

// echoes answers each call with its own rows, as worker version says, unless
// change makes something else of the answer to rows that begin with that one.
func echoes(version string, change func(first, answer string) (string, error)) func(string, []*backend.Call) error {
	return func(_ string, calls []*backend.Call) error {
		for _, c := range calls {
			data := strings.Trim(string(c.Request.Inputs[0].JSON), "[]")
			first, _, _ := strings.Cut(data, ",")
			body := fmt.Sprintf(`{"model_name":"m","model_version":"%s","parameters":{"by":"%s","all":1},"outputs":[{"name":"x","datatype":"INT32","shape":[%d],"data":[%s]}]}`,
				version, version, c.Request.Inputs[0].Shape[0], data)
			if change != nil {
				body, c.Err = change(first, body)
			}
			c.Response.Body, c.Response.HeadLength = append(c.Response.Body[:0], body...), -1
		}
		return nil
	}
}

// split is a loop under priced over workers that take 4 rows each.
func split(t *testing.T, workers ...*backendtest.Fake) *Loop {
	policy, err := dispatch.NewPolicy("priced", 1)
	if err != nil {
		t.Fatal(err)
	}
	s := setup{fakes: workers, state: pool.Up, core: dispatch.Config{Policy: policy}}
	for range workers {
		s.core.Workers = append(s.core.Workers, pool.Worker{Concurrency: 1, State: pool.Up, Serves: []pool.Serve{{Model: 0, MaxBatch: 4}}})
	}
	return s.start(t)
}

// numbers is a request for n rows, 0, 1, ….
func numbers(t *testing.T, n int) *Request {
	t.Helper()
	r := &Request{Size: n, MergeKey: 1}
	r.Call.Request = new(oip.Request)
	if err := r.Call.Request.Parse(rowsOf(0, 0, n, ""), -1, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPartsTellWhatTheyAgreeOn: the version and the parameters that differ from
// worker to worker are not told.
func TestPartsTellWhatTheyAgreeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := split(t, &backendtest.Fake{Latency: takes(time.Millisecond), Answer: echoes("1", nil)}, &backendtest.Fake{Latency: takes(time.Millisecond), Answer: echoes("2", nil)})
		r := numbers(t, 10)
		err := do(l, r)
		const want = `{"model_name":"m","parameters":{"all":1},"outputs":[{"name":"x","datatype":"INT32","shape":[10],"data":[0,1,2,3,4,5,6,7,8,9]}]}`
		if got := string(r.Call.Response.Body); err != nil || got != want || r.Parts != 3 || r.Attempts != 3 || r.Queued != 0 {
			t.Errorf("%v, %d parts, %d attempts, queued %v: %s", err, r.Parts, r.Attempts, r.Queued, got)
		}
		closed(t, l)
	})
}

// TestPartsThatFail: a request is answered with all its rows or not at all.
func TestPartsThatFail(t *testing.T) {
	own := &oip.Error{Status: 422, Message: "row 4 is bad"}
	for name, c := range map[string]struct {
		change func(first, answer string) (string, error)
		want   func(error) bool
	}{
		"one is told that it is at fault": {
			func(first, answer string) (string, error) {
				if first == "4" {
					return "", own
				}
				return answer, nil
			},
			func(err error) bool { return errors.Is(err, own) },
		},
		"one has another form": {
			func(first, answer string) (string, error) {
				if first == "4" {
					answer = strings.ReplaceAll(answer, "INT32", "INT64")
				}
				return answer, nil
			},
			func(err error) bool {
				var e *backend.Error
				return errors.As(err, &e) && e.Class == backend.Protocol && e.Status == 502
			},
		},
		"one is no answer": {
			func(first, answer string) (string, error) { return strings.TrimPrefix(answer, "{"), nil },
			func(err error) bool { return err != nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				worker := func() *backendtest.Fake {
					return &backendtest.Fake{Latency: takes(time.Millisecond), Answer: echoes("1", c.change)}
				}
				l := split(t, worker(), worker())
				r := numbers(t, 10)
				if err := do(l, r); !c.want(err) {
					t.Errorf("got %v and %q", err, r.Call.Response.Body)
				}
				closed(t, l)
			})
		})
	}
}

// TestCloseAmongParts ends the loop while some rows of a request run, some are
// answered and some wait.
func TestCloseAmongParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := &backendtest.Fake{Latency: takes(time.Millisecond), Answer: echoes("1", nil)}
		l := split(t, quick, &backendtest.Fake{Latency: takes(time.Hour), Answer: echoes("1", nil)})
		var err error
		r := numbers(t, 1000)
		r.Timeout = 10 * time.Hour
		done := make(chan struct{})
		go func() { err = do(l, r); close(done) }()
		time.Sleep(10 * time.Millisecond)
		if n := len(quick.Batches()); n < 5 {
			t.Errorf("only %d parts have run", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if l.Close(ctx) == nil {
			t.Error("nobody was refused")
		}
		<-done
		refusedFor(t, err, Stopping)
	})
}

// TestPartsRaced has many large and small requests at once in real time, on
// workers some of which fail; it is of most use under the race detector.
func TestPartsRaced(t *testing.T) {
	var workers []*backendtest.Fake
	for i := range 6 {
		f := &backendtest.Fake{Latency: takes(100 * time.Microsecond), Answer: echoes("1", nil)}
		if i%3 == 0 {
			n := 0 // one execution at a time
			f.Fail = func(string, []*backend.Call) error {
				if n++; n%7 == 0 {
					return &backend.Error{Class: backend.Server, Status: 500, Message: "told to fail"}
				}
				return nil
			}
		}
		workers = append(workers, f)
	}
	l := split(t, workers...)
	done := make(chan int)
	for c := range 40 {
		go func() {
			parts := 0
			for i := range 10 {
				n := 1 + (c*31+i*17)%60
				r := numbers(t, n)
				r.Timeout = time.Minute // however busy the machine is
				err := do(l, r)
				var none *Refusal
				if errors.As(err, &none) && none.Reason == Failed {
					continue // three failures in a row
				}
				if got, want := rowsIn(string(r.Call.Response.Body)), rowsIn(string(rowsOf(0, 0, n, "1"))); err != nil || got != want {
					t.Errorf("%d rows: %v, %s", n, err, got)
				}
				parts = max(parts, r.Parts)
			}
			done <- parts
		}()
	}
	most := 0
	for range 40 {
		most = max(most, <-done)
	}
	if most < 10 {
		t.Errorf("no request was answered in more than %d parts", most)
	}
	if n := l.mu.core.Counts(); n.Arrived != 400 || n.Arrived != n.Answered+n.Failed {
		t.Errorf("%+v", n)
	}
	closed(t, l)
}
