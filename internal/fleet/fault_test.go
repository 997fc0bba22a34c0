package fleet

import (
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"motley/internal/oip"
)

const oneRow = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`

// one posts a request to the first server of a fleet that has the fault.
func one(t *testing.T, fault string) (*Fleet, reply, time.Duration, error) {
	t.Helper()
	parsed, err := ParseFault(fault)
	if err != nil {
		t.Fatal(err)
	}
	f, servers := startAs(t, 1, law(t, row(1, 5*ms, 0)), func(c *Config) { c.Faults = []Fault{parsed} })
	c := client(t)
	c.Timeout = 300 * ms
	began := time.Now()
	r, err := post(c, servers[0].URL+"/v2/models/m/infer", -1, oneRow)
	return f, r, time.Since(began), err
}

// TestFaults holds what a client sees of each fault.
func TestFaults(t *testing.T) {
	timeout := func(err error) bool {
		var e net.Error
		return errors.As(err, &e) && e.Timeout()
	}
	var resp oip.Response
	for _, c := range []struct {
		fault string
		as    func(r reply, err error, took time.Duration) bool
	}{
		{"w0,kind=delay,factor=4", func(r reply, err error, took time.Duration) bool {
			return err == nil && r.status == 200 && took >= 20*ms
		}},
		{"w0,kind=hang", func(_ reply, err error, took time.Duration) bool { return timeout(err) && took >= 300*ms }},
		{"t,kind=500", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 500 && strings.Contains(string(r.body), "fault")
		}},
		{"all,kind=400", func(r reply, err error, _ time.Duration) bool { return err == nil && r.status == 400 }},
		{"all,kind=503", func(r reply, err error, _ time.Duration) bool { return err == nil && r.status == 503 }},
		{"w0,kind=reset", func(_ reply, err error, _ time.Duration) bool { return errors.Is(err, syscall.ECONNRESET) }},
		{"w0,kind=garbage", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 200 && resp.Parse(r.body, r.head, nil) != nil
		}},
		{"w0,kind=rows", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 200 && resp.Parse(r.body, r.head, nil) == nil && resp.Outputs[0].Shape[0] == 2
		}},
		{"w0,kind=error200", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 200 && strings.HasPrefix(string(r.body), `{"error":`)
		}},
		{"w0,kind=shape", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 200 && resp.Parse(r.body, r.head, nil) == nil && slices.Equal(resp.Outputs[0].Shape, []int64{1, 2, 1, 1})
		}},
		{"w0,kind=type", func(r reply, err error, _ time.Duration) bool {
			return err == nil && r.status == 200 && resp.Parse(r.body, r.head, nil) == nil && resp.Outputs[0].Datatype == oip.Uint8
		}},
		{"w0,kind=cut,at=0", func(_ reply, err error, _ time.Duration) bool {
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
		}},
		{"w0,kind=cut,at=0.99", func(_ reply, err error, _ time.Duration) bool {
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"w0,kind=stall,at=0.5", func(_ reply, err error, took time.Duration) bool { return timeout(err) && took >= 300*ms }},
		{"w0,kind=drip,every=100us", func(r reply, err error, took time.Duration) bool {
			return err == nil && r.status == 200 && resp.Parse(r.body, r.head, nil) == nil && took > 25*ms
		}},
		{"w0,kind=drip,every=20ms", func(_ reply, err error, _ time.Duration) bool { return timeout(err) }},
		{"w0,kind=500,from=10s", func(r reply, err error, _ time.Duration) bool { return err == nil && r.status == 200 }},
		{"w0,kind=500,to=1ns", func(r reply, err error, _ time.Duration) bool { return err == nil && r.status == 200 }},
		{"w0,kind=500,share=0", func(r reply, err error, _ time.Duration) bool { return err == nil && r.status == 200 }},
	} {
		f, r, took, err := one(t, c.fault)
		if !c.as(r, err, took) {
			t.Errorf("%s: %d %q, %v, after %v", c.fault, r.status, r.body, err, took)
		}
		kind := strings.SplitN(strings.SplitN(c.fault, "kind=", 2)[1], ",", 2)[0]
		want := []string{kind + "=1"}
		if strings.Contains(c.fault, "from=") || strings.Contains(c.fault, "to=") || strings.Contains(c.fault, "share=0") {
			want = nil
		}
		if got := f.Report()[0].Faults; !slices.Equal(got, want) {
			t.Errorf("%s: counted %v, want %v", c.fault, got, want)
		}
	}
}

// TestClose: a connection ends after so many answers, without a word of it.
func TestClose(t *testing.T) {
	fault, err := ParseFault("w0,kind=close,after=3")
	if err != nil {
		t.Fatal(err)
	}
	_, servers := start(t, 1, func(c *Config) { c.Faults = []Fault{fault} })
	c, err := net.Dial("tcp", strings.TrimPrefix(servers[0].URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := "POST /v2/models/m/infer HTTP/1.1\r\nHost: w\r\nContent-Length: " + strconv.Itoa(len(oneRow)) + "\r\n\r\n" + oneRow
	if _, err := io.WriteString(c, request+request+request); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(all), "HTTP/1.1 200"); n != 3 || strings.Contains(strings.ToLower(string(all)), "connection: close") {
		t.Errorf("%d answers, then the end: %s", n, all)
	}
}

// TestDown: a server that falls cuts its connections and refuses new ones, and
// comes back on the same port.
func TestDown(t *testing.T) {
	fault, err := ParseFault("w0,kind=down,from=150ms,to=300ms")
	if err != nil {
		t.Fatal(err)
	}
	_, servers := start(t, 1, func(c *Config) { c.Faults = []Fault{fault} })
	c := client(t)
	url := servers[0].URL + "/v2/models/m/infer"
	if r, err := post(c, url, -1, oneRow); err != nil || r.status != 200 {
		t.Fatal("before:", err, r.status)
	}
	idle, err := net.Dial("tcp", strings.TrimPrefix(servers[0].URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle connection ends with %v", err)
	}
	refused := false
	for began := time.Now(); ; {
		r, err := post(c, url, -1, oneRow)
		refused = refused || errors.Is(err, syscall.ECONNREFUSED)
		if err == nil && r.status == 200 {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("it does not come back:", err)
		}
	}
	if !refused {
		t.Error("nothing was refused")
	}
}

// TestFlapping holds when a fault has a server down.
func TestFlapping(t *testing.T) {
	for _, c := range []struct {
		fault string
		at    time.Duration
		down  bool
		until time.Duration
	}{
		{"w,kind=down", 0, true, forever},
		{"w,kind=down,from=1s,to=3s", 0, false, time.Second},
		{"w,kind=down,from=1s,to=3s", time.Second, true, 3 * time.Second},
		{"w,kind=down,from=1s,to=3s", 3 * time.Second, false, forever},
		{"w,kind=down,from=1s,period=1s,share=0.25", 1100 * ms, true, 1250 * ms},
		{"w,kind=down,from=1s,period=1s,share=0.25", 1250 * ms, false, 2 * time.Second},
		{"w,kind=down,from=1s,period=1s,share=0.25", 5 * time.Second, true, 5250 * ms},
		{"w,kind=down,from=1s,to=5100ms,period=1s,share=0.25", 5 * time.Second, true, 5100 * ms},
	} {
		f, err := ParseFault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		if down, until := f.down(c.at); down != c.down || until != c.until {
			t.Errorf("%s at %v: %v until %v, want %v until %v", c.fault, c.at, down, until, c.down, c.until)
		}
	}
}

// TestShare: faults hit their share, within four deviations of chance, and the
// same requests with the same seed.
func TestShare(t *testing.T) {
	const n = 10_000
	draw := func(seed uint64) (delayed, failed, kept []int) {
		a, _ := ParseFault("w,kind=delay,share=0.3,factor=2")
		b, _ := ParseFault("w,kind=500,share=0.1")
		c, _ := ParseFault("w,kind=close,after=5")
		f := newFaults([]Fault{a, b, c}, seed)
		for i := range n {
			factor, fault := f.draw(0, i)
			if factor == 2 {
				delayed = append(delayed, i)
			}
			switch {
			case fault == nil:
				kept = append(kept, i)
			case fault.Kind == "500":
				failed = append(failed, i)
			}
		}
		return delayed, failed, kept
	}
	delayed, failed, kept := draw(1)
	for _, s := range []struct {
		got   []int
		share float64
	}{{delayed, 0.3}, {failed, 0.1}} {
		if off := float64(len(s.got)) - s.share*n; math.Abs(off) > 4*math.Sqrt(n*s.share*(1-s.share)) {
			t.Errorf("%d of %d, want a share of %v", len(s.got), n, s.share)
		}
	}
	if len(kept) > 5 {
		t.Errorf("%d requests after the fifth of the connection are kept", len(kept))
	}
	if again, _, _ := draw(1); !slices.Equal(again, delayed) {
		t.Error("the same seed draws others")
	}
	if other, _, _ := draw(2); slices.Equal(other, delayed) {
		t.Error("another seed draws the same")
	}
}

func TestParseFault(t *testing.T) {
	f, err := ParseFault("g4dn.xlarge-1, kind=drip, share=0.5, from=1s, to=2s, every=1ms")
	want := Fault{Worker: "g4dn.xlarge-1", Kind: "drip", Share: 0.5, From: time.Second, To: 2 * time.Second, Factor: 3, Every: ms, After: 1, At: -1, Does: "500", For: 500 * ms}
	if err != nil || f != want {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{
		"", "w", ",kind=500", "w,kind=501", "w,kind=500,kind=503", "w,kind=500,share=2", "w,kind=500,share=NaN", "w,kind=500,from=2s,to=1s", "w,kind=500,factor=2",
		"w,kind=delay,factor=-1", "w,kind=close,after=0", "w,kind=drip,every=0s", "w,kind=down,period=1", "w,kind=500,from=-1s", "w,kind=500,x=1",
		"w,kind=500,at=0.5", "w,kind=cut,at=1.5", "w,kind=poison", "w,kind=poison,value=x", "w,kind=poison,value=1,share=0.5", "w,kind=poison,value=1,does=nothing", "w,kind=hang,for=1s",
	} {
		if f, err := ParseFault(bad); err == nil {
			t.Errorf("%q is taken: %+v", bad, f)
		}
	}
}

// FuzzParseFault: whatever it takes makes sense.
func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"w,kind=500", "all,kind=down,period=1s,share=0.5", "t,kind=delay,factor=1e3,from=1ms,to=1h", "w,kind=cut,at=0.5", "w,kind=poison,value=-7,does=die,for=1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseFault(text)
		if err != nil {
			return
		}
		if p.Worker == "" || !slices.Contains(Kinds, p.Kind) || !(p.Share >= 0 && p.Share <= 1) || p.To <= p.From || p.From < 0 || !(p.Factor >= 0) || p.Every <= 0 || p.After < 1 || p.At > 1 || p.For <= 0 || !slices.Contains(Poisons, p.Does) {
			t.Fatalf("%q: %+v", text, p)
		}
		for _, at := range []time.Duration{0, p.From, time.Second, time.Hour} {
			if _, until := p.down(at); until <= at {
				t.Fatalf("%q at %v: until %v", text, at, until)
			}
		}
	})
}

// TestShutdown: requests under way are answered; those that hang are cut.
func TestShutdown(t *testing.T) {
	fault, err := ParseFault("w1,kind=hang")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	c := client(t)
	t.Run("fleet", func(t *testing.T) {
		f, servers := startAs(t, 2, law(t, row(1, 200*ms, 0)), func(c *Config) { c.Faults = []Fault{fault} })
		for _, s := range servers {
			go func() {
				r, err := post(c, s.URL+"/v2/models/m/infer", -1, oneRow)
				if err == nil && r.status != http.StatusOK {
					err = errors.New(string(r.body))
				}
				done <- err
			}()
		}
		for len(f.Report()[1].Faults) == 0 || !f.servers[0].running() {
			runtime.Gosched()
		}
	}) // its cleanup stops the fleet
	first, second := <-done, <-done
	if (first == nil) == (second == nil) {
		t.Errorf("ended with %v and %v, want an answer and an end", first, second)
	}
}

// running tells whether an execution is under way.
func (s *server) running() bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.mu.idle) < s.slots
}
