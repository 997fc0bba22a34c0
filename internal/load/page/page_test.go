package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"motley/internal/load"
	"motley/internal/mono"
	"motley/internal/workload"
)

// stream writes phases at the rates, a record each millisecond, which take as
// many ms as their rate has hundreds. Those in cut end too early.
func stream(t testing.TB, url string, cut map[float64]bool, rates ...float64) []byte {
	t.Helper()
	var b bytes.Buffer
	s, err := load.NewStream(&b)
	if err != nil {
		t.Fatal(err)
	}
	arrivals, err := workload.ParseArrivals("constant", nil)
	if err != nil {
		t.Fatal(err)
	}
	target, err := load.ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	p := &load.Plan{Targets: []load.Target{target}, Models: []*load.Bodies{{Model: "<m>"}}, Arrivals: arrivals, Warmup: 100 * time.Millisecond, Duration: time.Second}
	for _, rate := range rates {
		err := s.Phase(p, load.Phase{Rate: rate}, 5*time.Millisecond)
		var records []load.Record
		for i := range 1100 {
			r := load.Record{
				At: mono.Time(i) * mono.Time(time.Millisecond), Sent: 50 * time.Microsecond, Done: time.Duration(rate/100) * time.Millisecond, Status: 200,
				Rows: 2, Right: 1, Labelled: true, Exit: int8(i % 3), Warm: i < 100,
			}
			if i%11 == 10 {
				r.Outcome, r.Status, r.Labelled, r.Right, r.Exit = load.Status, 503, false, 0, -1
			}
			records = append(records, r)
		}
		err = errors.Join(err, s.Add(records))
		if !cut[rate] {
			err = errors.Join(err, s.End())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// written is the page of what was collected; its drawings are XML, and it names
// nothing to load.
func written(t testing.TB, c *Collector, opt Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b, opt); err != nil {
		t.Fatal(err)
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(b.String(), -1) {
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %.2000s", err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("a drawing has a number that is none: %.2000s", svg)
		}
	}
	if m := regexp.MustCompile(`(?i)<(script|link|img|iframe)|@import|url\(`).FindString(b.String()); m != "" {
		t.Errorf("the page has %q", m)
	}
	return b.String()
}

func TestPage(t *testing.T) {
	var c Collector
	for name, data := range map[string][]byte{
		"a.bin": stream(t, "http://127.0.0.1:1/<x>", map[float64]bool{900: true}, 300, 900, 200, 300), "b.bin": stream(t, "http://127.0.0.1:2", nil, 700),
	} {
		if err := c.Add(name, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	page := written(t, &c, Options{Title: "A & B", USDPerH: 3.6})
	// 909 of 1000 are answered in the second; at 3.6 USD/h a million good ones cost 1000/909.
	for _, want := range []string{
		"<title>A &amp; B</title>", "a.bin: 1 phases that were cut short",
		"| a.bin | http://127.0.0.1:1/&lt;x&gt; | &lt;m&gt; | 200 | ", "| 300 | ", "Goodput by rate", "<td>503: 91</td>", "<td>503: 182</td>", // two rounds at 300/s
		"| 2.00", "50.00 %", "exit 2:", "USD per million", "| 1.1", "b.bin http://127.0.0.1:2 700/s",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "| 900 |") {
		t.Error("a phase that was cut is in the table")
	}
	var ms []string
	_, rows := c.table(Options{})
	for _, row := range rows {
		ms = append(ms, row[3]+":"+row[8])
	}
	if !closeTo(ms, 2, 3, 7) {
		t.Errorf("medians %s", ms)
	}
}

// closeTo compares what follows the colons, to 1 %.
func closeTo(texts []string, want ...float64) bool {
	for i, text := range texts {
		var rate, got float64
		if _, err := fmt.Sscanf(text, "%g:%g", &rate, &got); err != nil || math.Abs(got-want[i]) > 0.01*want[i] {
			return false
		}
	}
	return len(texts) == len(want)
}

// TestCutStreams: what there is of a stream is shown, and what is missing told.
func TestCutStreams(t *testing.T) {
	whole := stream(t, "http://127.0.0.1:1", map[float64]bool{100: true}, 100)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{whole, "x: no phase ran to its end"}, {whole[:len(whole)-3], "x is cut in the middle"}, {whole[:8], "x has no results"},
	} {
		var all Collector
		if err := all.Add("x", bytes.NewReader(c.data)); err != nil {
			t.Fatal(err)
		}
		if page := written(t, &all, Options{}); !strings.Contains(page, c.want) {
			t.Errorf("%d bytes: the page lacks %q", len(c.data), c.want)
		}
	}
	var all Collector
	if err := all.Add("x", strings.NewReader("something else")); err == nil || !strings.HasPrefix(err.Error(), "x: ") {
		t.Errorf("%v", err)
	}
}

// TestBins: however long a phase is, there are not more bins than the bound,
// and nothing is lost.
func TestBins(t *testing.T) {
	b := newBins(&load.PhaseInfo{})
	const n = 3 * maxBins
	for i := range n {
		b.add(&load.Record{At: mono.Time(i) * mono.Time(time.Second), Done: time.Duration(i) * time.Millisecond, Outcome: load.Outcome(i % 2)})
	}
	due, answered, no, counted := 0, 0, 0, int64(0)
	for _, x := range b.all {
		due, answered, no = due+x.due, answered+x.answered, no+x.no
		if x.latency != nil {
			counted += x.latency.TotalCount()
		}
	}
	if len(b.all) > maxBins || b.width != 4*time.Second || due != n || answered != n/2 || no != n/2 || counted != n/2 {
		t.Errorf("%d bins of %v: %d due, %d answered, %d not, %d latencies", len(b.all), b.width, due, answered, no, counted)
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		a     axis
		v, at float64
	}{
		{linear("", 200), 50, 0.25}, {linear("", 0), 1, 1}, {linear("", math.Inf(1)), 0, 0},
		{logarithmic("", 0.2, 800), 10, 0.5}, {logarithmic("", math.Inf(1), 0), 1, 0}, {logarithmic("", 1, 10), 0, 0},
		{nines(""), 0.9, 0.2}, {nines(""), 0.999, 0.6}, {nines(""), 1, 1}, {nines(""), 0, 0},
	} {
		if got := c.a.at(c.v); math.Abs(got-c.at) > 1e-9 {
			t.Errorf("%v is at %v, want %v", c.v, got, c.at)
		}
		if len(c.a.ticks) < 2 || len(c.a.ticks) > 20 {
			t.Errorf("ticks %v", c.a.ticks)
		}
	}
}

// FuzzPage: whatever is in a file, a page of it is well-formed, or there is an
// error.
func FuzzPage(f *testing.F) {
	whole := stream(f, "http://127.0.0.1:1", nil, 100)
	f.Add(whole[:len(whole)/20])
	f.Add([]byte("MOTLOAD\x01P\x1e\x00\x00\x00{\"models\":[\"a\"],\"rate_qps\":1e9}E\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Collector
		if c.Add("x", bytes.NewReader(b)) == nil {
			written(t, &c, Options{USDPerH: 1})
		}
	})
}
