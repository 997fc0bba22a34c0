package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/oip"
	"motley/internal/workload"
)

// slack is what a busy machine may add to a wait, beside what it adds for
// certain: the waking of this process's threads.
const slack = 5 * time.Millisecond

// tries runs a measurement until it comes out, a few times at the most: on a
// machine that is busy with other things any one may be spoilt.
func tries(t *testing.T, measure func() error) {
	t.Helper()
	var errs error
	for range 4 {
		err := measure()
		if err == nil {
			return
		}
		errs = errors.Join(errs, err)
	}
	t.Error(errs)
}

// TestPercentiles: the percentiles are those of the delays that the server
// made, as itself measured them, to 1 % and the timers' slack.
func TestPercentiles(t *testing.T) {
	tries(t, func() error { return percentiles(t) })
}

func percentiles(t *testing.T) error {
	var mu sync.Mutex
	var delays []time.Duration
	n := 0
	s := serve(t, func(w io.Writer, body []byte) bool {
		begin := time.Now()
		mu.Lock()
		n++
		d := time.Duration(20+(n*7919)%100) * time.Millisecond
		if n%50 == 0 {
			d = 300 * time.Millisecond
		}
		mu.Unlock()
		wait(d)
		mu.Lock()
		delays = append(delays, time.Since(begin))
		mu.Unlock()
		return answerWell(w, body)
	})
	p := planFor(t, s, "exponential", 400)
	p.Connections = 200 // enough, so that none waits for one
	tally := p.NewTally(100 * time.Millisecond)
	for _, r := range results(t, p) {
		tally.Add(&r)
	}
	mu.Lock()
	defer mu.Unlock()
	if tally.Scheduled < 300 || tally.By[OK] != tally.Scheduled || len(delays) != tally.Scheduled {
		t.Fatalf("%d scheduled, %v, %d answered", tally.Scheduled, tally.By, len(delays))
	}
	slices.Sort(delays)
	for _, q := range []float64{50, 75, 90, 95, 99} {
		got := time.Duration(tally.Latency.ValueAtQuantile(q))
		rank := int(math.Round(q / 100 * float64(len(delays))))
		low, high := delays[max(0, rank-2)], delays[rank]
		if float64(got) < 0.998*float64(low) {
			t.Fatalf("p%v: %v, less than the server took: %v", q, got, low)
		}
		if float64(got) > 1.01*float64(high)+float64(slack) {
			return fmt.Errorf("p%v: %v, the server's delays %v to %v", q, got, low, high)
		}
	}
	return nil
}

// TestStall: a server that stops for 200 ms is charged for all who would have
// come meanwhile. Who waits for each answer before the next request sees one
// slow answer among thousands.
func TestStall(t *testing.T) {
	const stall = 200 * time.Millisecond
	stalling := func(every int64) func(io.Writer, []byte) bool {
		var mu sync.Mutex
		var n int64
		return func(w io.Writer, body []byte) bool {
			mu.Lock()
			if n++; n == every {
				wait(stall) // with the lock: nobody is answered
			}
			mu.Unlock()
			return answerWell(w, body)
		}
	}
	p := planFor(t, serve(t, stalling(300)), "constant", 1000)
	tally := p.NewTally(0)
	for _, r := range results(t, p) {
		tally.Add(&r)
	}
	if got := time.Duration(tally.Latency.ValueAtQuantile(99)); tally.By[OK] != tally.Scheduled || got < stall*3/4 {
		t.Errorf("%v of %d, p99 %v: want nearly the %v of the stall", tally.By, tally.Scheduled, got, stall)
	}
	// A fifth of the second: those are late, by half the stall on average.
	if got := time.Duration(tally.Latency.Mean()); got < stall/5/2*8/10 {
		t.Errorf("mean %v, want %v at least", got, stall/10)
	}
	if tally.Wait.TotalCount() < 100 { // 8 connections, 200 requests
		t.Errorf("%d waited for a connection", tally.Wait.TotalCount())
	}
	tries(t, func() error {
		closed := closedLoop(t, serve(t, stalling(300)), 1000)
		slices.Sort(closed)
		if got := closed[len(closed)*99/100]; got > stall/4 || closed[len(closed)-1] < stall {
			return fmt.Errorf("closed loop: p99 %v, max %v: the stall was to hide", got, closed[len(closed)-1])
		}
		return nil
	})
}

// closedLoop is how long each of n requests took, one after the other.
func closedLoop(t *testing.T, s *server, n int) (took []time.Duration) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const body = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`
	in := bufio.NewReader(c)
	for range n {
		begin := time.Now()
		_, err := io.WriteString(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	return took
}

// TestOutcomes: what a server does wrong is told by kind, each time, and the
// next request has a connection.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	say := func(text string, goOn bool) func(io.Writer, []byte) bool {
		return func(w io.Writer, _ []byte) bool {
			_, err := io.WriteString(w, text)
			return goOn && err == nil
		}
	}
	chunked := func(_ []byte, body string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n" + body[:3] + "\r\n" + strconv.FormatInt(int64(len(body)-3), 16) + "\r\n" + body[3:] + "\r\n0\r\n\r\n"
	}
	for _, c := range []struct {
		name   string
		want   Outcome
		status uint16
		answer func(io.Writer, []byte) bool
	}{
		{"well", OK, 200, answerWell},
		{"in chunks", OK, 200, func(w io.Writer, body []byte) bool {
			_, err := io.WriteString(w, chunked(body, inferred(body)))
			return err == nil
		}},
		{"byte by byte", OK, 200, func(w io.Writer, body []byte) bool {
			for _, b := range []byte(with200(inferred(body))) {
				if _, err := w.Write([]byte{b}); err != nil {
					return false
				}
			}
			return true
		}},
		{"after 100", OK, 200, func(w io.Writer, body []byte) bool {
			_, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"+with200(inferred(body)))
			return err == nil
		}},
		{"and closes", OK, 200, func(w io.Writer, body []byte) bool {
			_, err := io.WriteString(w, strings.Replace(with200(inferred(body)), "\r\n", "\r\nConnection: close\r\n", 1))
			return err != nil
		}},
		{"503", Status, 503, say("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}", true)},
		{"204", Status, 204, say("HTTP/1.1 204 Nothing\r\n\r\n", true)},
		{"not JSON", Wrong, 200, say(with200("pong"), true)},
		{"another model", Wrong, 200, say(with200(response("n", 2)), true)},
		{"too few rows", Wrong, 200, say(with200(response("m", 1)), true)},
		{"no outputs", Wrong, 200, say(with200(`{"model_name":"m","outputs":[]}`), true)},
		{"cut JSON", Wrong, 200, say(with200(response("m", 2)[:70]), true)},
		{"not HTTP", Garbled, 0, say("hello\r\n\r\n", true)},
		{"no length", Garbled, 0, say("HTTP/1.1 200 OK\r\n\r\n", true)},
		{"two answers", Garbled, 0, say(with200(response("m", 2))+with200(response("m", 2)), true)},
		{"nothing, and closes", Reset, 0, say("", false)},
		{"half, and closes", Reset, 0, say(with200(response("m", 2))[:80], false)},
		{"nothing", Timeout, 0, say("", true)},
		{"half", Timeout, 0, say(with200(response("m", 2))[:80], true)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := planFor(t, serve(t, c.answer), "constant", 200)
			p.Requests, p.Connections = 12, 20 // as many as there are requests: none waits for a timeout
			p.Timeout = 2 * time.Second
			if c.want == Timeout {
				p.Timeout = 500 * time.Millisecond
			}
			all := results(t, p)
			for _, r := range all {
				if r.Outcome != c.want || r.Status != c.status || r.Rows != 2 || r.Sent <= 0 || r.Done < r.Sent {
					t.Errorf("%+v, want %v", r, c.want)
				}
				if c.want == Timeout && (r.Done < p.Timeout || r.Done > 3*p.Timeout) {
					t.Errorf("given up after %v", r.Done)
				}
			}
			if len(all) != 12 {
				t.Errorf("%d records", len(all))
			}
		})
	}
}

// TestHangUp: a connection of which the server says that it closes it is not used
// again, even where it stays open.
func TestHangUp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	used := map[io.Writer]int{}
	p := planFor(t, serve(t, func(w io.Writer, body []byte) bool {
		mu.Lock()
		used[w]++
		mu.Unlock()
		_, err := io.WriteString(w, strings.Replace(with200(inferred(body)), "\r\n", "\r\nConnection: close\r\n", 1))
		return err == nil
	}), "constant", 100)
	p.Connections, p.Requests = 1, 6
	for _, r := range results(t, p) {
		if r.Outcome != OK {
			t.Errorf("%+v", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(used) != 6 {
		t.Errorf("%d connections for 6 requests", len(used))
	}
}

// TestUnchecked: answers are not looked at where that was asked for.
func TestUnchecked(t *testing.T) {
	t.Parallel()
	p := planFor(t, serve(t, func(w io.Writer, _ []byte) bool {
		_, err := io.WriteString(w, with200("pong"))
		return err == nil
	}), "constant", 200)
	p.Requests, p.Unchecked = 5, true
	for _, r := range results(t, p) {
		if r.Outcome != OK {
			t.Errorf("%+v", r)
		}
	}
}

// TestBusy: with one connection and a server slower than the rate, the wait
// counts, and who waits too long is not sent.
func TestBusy(t *testing.T) {
	t.Parallel()
	p := planFor(t, serve(t, func(w io.Writer, body []byte) bool {
		wait(20 * time.Millisecond)
		return answerWell(w, body)
	}), "constant", 200)
	p.Connections, p.Requests, p.Timeout = 1, 60, 150*time.Millisecond
	var by [outcomes]int
	last := mono.Time(-1)
	all := results(t, p)
	slices.SortFunc(all, func(a, b Record) int { return int(a.At - b.At) })
	for _, r := range all {
		by[r.Outcome]++
		switch {
		case r.Outcome == Busy && (r.Sent != 0 || r.Done < p.Timeout), r.Outcome == OK && r.Done < 20*time.Millisecond, r.At <= last:
			t.Errorf("%+v after %v", r, last)
		}
		last = r.At
	}
	if by[Busy] < 10 || by[OK] < 3 || by[Busy]+by[OK]+by[Timeout] != 60 {
		t.Errorf("by outcome %v", by)
	}
}

// TestRefused: a server that has gone makes no connections, and that is told.
func TestRefused(t *testing.T) {
	t.Parallel()
	var once sync.Once
	var self atomic.Pointer[server]
	s := serve(t, func(io.Writer, []byte) bool {
		once.Do(func() { self.Load().stop() })
		return false
	})
	self.Store(s)
	p := planFor(t, s, "constant", 200)
	p.Requests, p.Timeout = 40, 50*time.Millisecond
	var by [outcomes]int
	for _, r := range results(t, p) {
		by[r.Outcome]++
	}
	if by[Reset] < 1 || by[Refused] < 20 || by[Reset]+by[Refused]+by[Busy] != 40 {
		t.Errorf("by outcome %v", by)
	}
	err := p.Run(context.Background(), 0, func([]Record) bool { return true })
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with nobody there from the start: %v", err)
	}
}

// TestThreads: several loops send the schedule of one, each request once.
func TestThreads(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	p := planFor(t, serve(t, func(w io.Writer, body []byte) bool {
		n.Add(1)
		return answerWell(w, body)
	}), "exponential", 500)
	p.Duration, p.Threads = 300*time.Millisecond, 3
	var at []mono.Time
	for _, r := range results(t, p) {
		if r.Outcome != OK {
			t.Errorf("%+v", r)
		}
		at = append(at, r.At)
	}
	slices.Sort(at)
	var want []mono.Time
	p.Threads = 1
	for _, x := range shots(t, p, 0)[0] {
		want = append(want, x.at)
	}
	if !slices.Equal(at, want) || int(n.Load()) != len(want) {
		t.Errorf("%d requests, %d came, want %d", len(at), n.Load(), len(want))
	}
}

// TestStop: whoever takes the records ends the phase, and so does the context.
func TestStop(t *testing.T) {
	t.Parallel()
	p := planFor(t, serve(t, answerWell), "constant", 1000)
	p.Duration = time.Hour
	if err := p.Run(context.Background(), 0, func([]Record) bool { return false }); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := p.Run(ctx, 0, func([]Record) bool {
		cancel()
		return true
	}); err != nil {
		t.Error(err)
	}
}

// TestLarge sends and takes bodies that do not fit a socket's memory.
func TestLarge(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	p := planFor(t, serve(t, answerWell), "constant", 50)
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 16}}}}
	b, err := Random(meta, "m", rows, workload.Stream(1, "bodies"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Sizes, err = workload.ParseSizes("fixed:50000", nil); err != nil {
		t.Fatal(err)
	}
	p.Models, p.Requests, p.Timeout = []*Bodies{b}, 3, 10*time.Second
	for _, r := range results(t, p) {
		if r.Outcome != OK || r.Rows != rows {
			t.Errorf("%+v", r)
		}
	}
}
