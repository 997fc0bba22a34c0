package chaos

import (
	"sync"
	"testing"
	"time"
)

// What users of other servers have run into, at a router and workers that run.
// docs/chaos.md has the list.

// TestStartsWithWorkersDown: a router whose workers are not all there serves by
// those that are, and takes the others when they come.
func TestStartsWithWorkersDown(t *testing.T) {
	long(t)
	Scene{Traffic: Traffic{Rate: 100}, Broken: true, Again: true, Lost: 0.5}.play(t, func(w *World, r *Run) {
		must(t, w.Router.Stop(10*time.Second))
		missing := w.Workers[1:3]
		for _, one := range missing {
			one.Kill()
		}
		must(t, w.Router.Start())
		if err := w.alive(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		from := r.Now()
		Wait(span(1500 * time.Millisecond))
		c := count(r.Records(), func(one *Record) bool { return one.At > from && one.ordinary() && one.Outcome != Pending })
		if c[Answered] < c.Total()*9/10 || c[Answered] == 0 {
			t.Errorf("with two of four workers: %v", c)
		}
		for _, one := range missing {
			must(t, one.Start())
		}
		must(t, w.Ready(5*time.Second))
	})
}

// alive waits until the router answers an inference request.
func (w *World) alive(within time.Duration) error {
	for deadline := time.Now().Add(within); ; Wait(20 * time.Millisecond) {
		_, err := get("http://" + w.Address + "/v2/health/ready")
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// TestBlamedRequests: workers that say 4xx say that the request is at fault. No
// worker is worth less for that, and all the other requests are answered.
func TestBlamedRequests(t *testing.T) {
	asked(t)
	w := open(t, Options{Seed: seedOf(t)})
	for _, one := range w.Workers {
		must(t, one.Faults("kind=400,share=0.5"))
	}
	r := Begin(w.Address, Traffic{Rate: 150, Mix: Mix{Rows: 2}, Seed: seedOf(t)})
	down := 0.0
	for range int(span(3*time.Second) / bucket) {
		Wait(bucket)
		m, err := w.Metrics()
		must(t, err)
		if up := m.Sum("motley_worker_up"); up < 4 {
			down = max(down, 4-up)
		}
	}
	records, err := r.Stop()
	must(t, err)
	c := count(records, nil)
	if t.Logf("%v", c); c[Blamed] == 0 || c[Blamed]+c[Answered] != c.Total() {
		t.Errorf("%v: %s", c, examples(records, nil, Wrong, Failed, Rejected, Silent, Cut, Refused))
	}
	if down > 0 {
		t.Errorf("%v workers were taken for broken", down)
	}
}

// TestTimedOutDoNotRun: requests whose deadline has passed are not executed:
// workers run nothing that nobody waits for.
func TestTimedOutDoNotRun(t *testing.T) {
	asked(t)
	w := open(t, Options{Types: []string{"slow"}, Seed: seedOf(t)})
	// 30 batches' worth at once, of which the worker can run one or two in time.
	records := burst(w, 60, func(i int, a *Ask) { a.Rows, a.Deadline = maxBatch/2, 300*time.Millisecond })
	c := count(records, nil)
	Wait(500 * time.Millisecond) // what runs would run on meanwhile
	ran, err := w.Workers[0].rows()
	must(t, err)
	t.Logf("%v; %v rows ran", c, ran)
	if c[Answered]+c[Rejected]+c[Failed] != c.Total() || c[Answered] == 0 {
		t.Errorf("%v: %s", c, examples(records, nil, Wrong, Blamed, Silent, Cut, Refused))
	}
	if may := float64(c[Answered]*maxBatch/2 + maxBatch); ran > may { // one batch may have missed it under way
		t.Errorf("%v rows ran for %d answered requests of %d rows", ran, c[Answered], maxBatch/2)
	}
}

// burst sends n requests at once, over a connection each.
func burst(w *World, n int, change func(i int, a *Ask)) []Record {
	c := NewClient(w.Address)
	defer c.Close()
	records := make([]Record, n)
	first := take(int64(n))
	var all sync.WaitGroup
	begin := time.Now()
	for i := range records {
		records[i].Ask = Ask{ID: first + int64(i), Rows: 1, Binary: i%2 == 0}
		change(i, &records[i].Ask)
		all.Go(func() {
			c.Do(&records[i])
			records[i].Done = time.Since(begin)
		})
	}
	all.Wait()
	return records
}

// rows is how many the worker has run since its start.
func (one *Worker) rows() (float64, error) {
	m, err := scrape("http://" + one.Address + "/metrics")
	return m.Sum("nv_inference_count"), err
}

// TestLeaverFreesItsPlace: a client that leaves while its request runs, at a
// worker that says nothing, frees it within 100 ms.
func TestLeaverFreesItsPlace(t *testing.T) {
	asked(t)
	w := open(t, Options{Types: []string{"fast"}, Remote: "timeout: 20s, probe_interval: 200ms", Seed: seedOf(t)})
	must(t, w.Workers[0].Faults("kind=hang"))
	c := NewClient(w.Address)
	defer c.Close()
	for range 5 {
		leaver := Record{Ask: Ask{ID: take(1), Rows: 1, Leave: 150 * time.Millisecond}}
		if c.Do(&leaver); leaver.Outcome != Left {
			t.Fatalf("%s", examples([]Record{leaver}, nil, leaver.Outcome))
		}
		left := time.Now()
		for {
			m, err := w.Metrics()
			must(t, err)
			took := time.Since(left)
			if n := m.Sum("motley_in_flight_requests") + m.Sum("motley_worker_in_flight_batches"); n == 0 {
				t.Logf("free after %v at the most", took)
				break
			}
			if took > 150*time.Millisecond { // the question takes its time, too
				t.Fatalf("the place is taken %v after the client has left", took)
			}
		}
	}
	must(t, w.Workers[0].Faults())
	next := Record{Ask: Ask{ID: take(1), Rows: 1}}
	if c.Do(&next); next.Outcome != Answered {
		t.Errorf("afterwards: %s", examples([]Record{next}, nil, next.Outcome))
	}
}

// TestThousandClients: 1,500 clients at once, each with a connection of its own
// and time to wait, all get their answer.
func TestThousandClients(t *testing.T) {
	long(t)
	w := open(t, Options{Seed: seedOf(t)})
	for range 2 {
		records := burst(w, 1500, func(_ int, a *Ask) { a.Deadline = 7 * time.Second })
		c := count(records, nil)
		if c[Answered] != c.Total() {
			t.Errorf("%v: %s", c, examples(records, nil, Wrong, Failed, Rejected, Blamed, Silent, Cut, Refused))
		}
		last := time.Duration(0)
		for i := range records {
			last = max(last, records[i].Done)
		}
		t.Logf("%v, the last after %v", c, last)
	}
}
