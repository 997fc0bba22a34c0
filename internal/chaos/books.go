package chaos

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Metrics are a router's, by series.
type Metrics map[string]float64

// Metrics asks the router.
func (w *World) Metrics() (Metrics, error) { return scrape("http://" + w.Admin + "/metrics") }

func scrape(url string) (Metrics, error) {
	page, err := get(url)
	if err != nil {
		return nil, err
	}
	m := Metrics{}
	for line := range bytes.Lines(page) {
		series, value, ok := strings.Cut(strings.TrimSpace(string(line)), "} ")
		if ok {
			series += "}"
		} else if series, value, ok = strings.Cut(series, " "); !ok || strings.HasPrefix(series, "#") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read the metrics: %q: %w", line, err)
		}
		m[series] = v
	}
	return m, nil
}

// Sum is the sum over the series of a name that have all these labels, as
// `model="m"`.
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
next:
	for series, v := range m {
		rest, ok := strings.CutPrefix(series, name)
		if !ok || rest != "" && rest[0] != '{' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		sum += v
	}
	return sum
}

// Holding is what the router holds.
type Holding struct {
	Usage
	Goroutines int
}

func (h Holding) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MB", h.Goroutines, h.Descriptors, float64(h.RSS)/1e6)
}

// Holding asks what the router holds.
func (w *World) Holding() (h Holding, err error) {
	m, err := w.Metrics()
	if err != nil {
		return h, err
	}
	if h.Usage, err = usage(w.Router.PID()); err != nil {
		return h, err
	}
	h.Goroutines = int(m.Sum("go_goroutines"))
	return h, nil
}

// Slack is what a router may hold beyond what it held before: connections to
// workers are kept, and the runtime gives memory back late.
type Slack struct {
	Goroutines, Descriptors int
	RSS                     float64 // times
}

// Leaks waits until the router holds no more than before, and says what it
// does hold if that does not come within d.
func (w *World) Leaks(before Holding, slack Slack, d time.Duration) (now Holding, err error) {
	for deadline := time.Now().Add(d); ; {
		if now, err = w.Holding(); err != nil {
			return now, err
		}
		if now.Goroutines <= before.Goroutines+slack.Goroutines && now.Descriptors <= before.Descriptors+slack.Descriptors &&
			float64(now.RSS) <= slack.RSS*float64(before.RSS) {
			return now, nil
		}
		if time.Now().After(deadline) {
			return now, fmt.Errorf("the router held %v before and holds %v %v after the traffic", before, now, d)
		}
		Wait(100 * time.Millisecond)
	}
}

// Books compares what the router counted, since the metrics before, with what
// the clients saw: every request that reached it was counted once, under what it
// was answered with, and nothing is queued or in flight any more.
func (w *World) Books(before Metrics, records []Record, within time.Duration) error {
	c := count(records, nil)
	status := map[int]int{}
	for i := range records {
		if s := records[i].Status; s != 0 {
			status[s]++
		}
	}
	// Of these the router may or may not have read the request, and the client
	// has not read the answer.
	open := c[Left] + c[Cut] + c[Silent] + c[Refused]
	var err error
	for deadline := time.Now().Add(within); ; Wait(50 * time.Millisecond) {
		var now Metrics
		if now, err = w.Metrics(); err != nil {
			return err
		}
		if err = balance(before, now, status, open); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func balance(before, now Metrics, status map[int]int, open int) error {
	for _, gauge := range []string{"motley_queue_requests", "motley_in_flight_requests", "motley_worker_in_flight_batches"} {
		if n := now.Sum(gauge); n != 0 {
			return fmt.Errorf("%s is %v when nothing is under way", gauge, n)
		}
	}
	since := func(labels ...string) int {
		return int(now.Sum("motley_requests_total", labels...) - before.Sum("motley_requests_total", labels...))
	}
	seen := 0
	for code, n := range status {
		seen += n
		if k := since(fmt.Sprintf(`code="%d"`, code)); k < n || k > n+open {
			return fmt.Errorf("%d answers with %d were counted, clients saw %d and do not know of %d requests", k, code, n, open)
		}
	}
	if k := since(); k < seen || k > seen+open {
		return fmt.Errorf("%d requests were counted, clients saw %d answers and do not know of %d", k, seen, open)
	}
	return nil
}
