package app

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/config"
)

// ledger is model servers that write down which rows they were asked for, and answer with
// them.
type ledger struct {
	urls  []string
	stop  []func()
	delay time.Duration

	mu   sync.Mutex
	rows map[int]int // how often each was run
}

func newLedger(t *testing.T, n int) *ledger {
	l := &ledger{rows: map[int]int{}, delay: time.Millisecond}
	for range n {
		s := httptest.NewServer(l)
		l.urls, l.stop = append(l.urls, s.URL), append(l.stop, s.Close)
		t.Cleanup(s.Close)
	}
	return l
}

func (l *ledger) close() {
	for _, stop := range l.stop {
		stop()
	}
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // v2 models NAME …
	switch {
	case len(path) == 4 && path[3] == "infer":
		var in struct {
			Inputs []struct {
				Shape []int
				Data  []int
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, `{"error":"what?"}`, 400)
			return
		}
		<-time.After(l.delay)
		l.mu.Lock()
		for _, row := range in.Inputs[0].Data {
			l.rows[row]++
		}
		l.mu.Unlock()
		out, _ := json.Marshal(map[string]any{"model_name": path[2], "outputs": []any{
			map[string]any{"name": "y", "datatype": "INT32", "shape": in.Inputs[0].Shape, "data": in.Inputs[0].Data},
		}})
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(out)
	case len(path) == 4 && path[3] == "config":
		fmt.Fprint(w, `{"max_batch_size":16}`)
	case len(path) == 4 && path[3] == "ready":
	case len(path) == 3:
		fmt.Fprintf(w, `{"name":%q,"platform":"p","inputs":[{"name":"x","datatype":"INT32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"INT32","shape":[-1,1]}]}`, path[2])
	default:
		fmt.Fprint(w, `{"name":"ledger","version":"1","extensions":[]}`)
	}
}

// poolText is a configuration of these workers, one line each.
func poolText(models string, types []string, workers []string) string {
	text := "limits: {drain_timeout: 5s}\nmodels:\n" + models + "instance_types:\n"
	for _, t := range types {
		text += "  - {name: " + t + "}\n"
	}
	return text + "workers:\n" + strings.Join(workers, "")
}

func parsed(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

// randomPool has models m and n always, and all else now and then.
func randomPool(rng *rand.Rand, l *ledger) string {
	models := fmt.Sprintf("  - {name: m, qos: {target: 30s, percentile: %d}, max_batch: %d}\n  - {name: n, qos: {target: 20s}, max_queue: %d}\n",
		90+rng.IntN(9), 1+rng.IntN(16), 1000+rng.IntN(1000))
	types, extra := []string{"t"}, false
	if rng.IntN(2) == 0 {
		types = append(types, "u")
	}
	if rng.IntN(10) == 0 {
		types = append(types, fmt.Sprint("v", rng.IntN(20)))
	}
	if extra = rng.IntN(2) == 0; extra {
		models += "  - {name: extra, qos: {target: 20s}}\n"
	}
	var workers []string
	for i := range 5 {
		if i > 0 && rng.IntN(3) == 0 {
			continue
		}
		serves := "[m, n]"
		if extra && (i == 0 || rng.IntN(2) == 0) {
			serves = "[m, n, extra]"
		}
		url := l.urls[rng.IntN(len(l.urls))]
		workers = append(workers, fmt.Sprintf("  - {name: w%d, type: %s, concurrency: %d, models: %s, remote: {url: %q, connections: 4, probe_interval: 50ms}}\n",
			i, types[rng.IntN(len(types))], 1+rng.IntN(2), serves, url))
	}
	return poolText(models, types, workers)
}

// asker sends requests with rows of their own one after the other until stop.
func asker(t *testing.T, s *served, me int, model string, stop *atomic.Bool, sent *sync.Map, absent *atomic.Int64) (answered int) {
	c := s.client(1)
	c.MaxIdleConnDuration = 100 * time.Millisecond // its goroutine looks as often
	defer c.CloseIdleConnections()
	for round := 0; !stop.Load(); round++ {
		n := 1 + round%3
		rows := make([]int, n)
		for i := range rows {
			rows[i] = me*1_000_000 + round*10 + i
		}
		data, _ := json.Marshal(rows)
		a, err := infer(c, model, -1, fmt.Appendf(nil, `{"inputs":[{"name":"x","shape":[%d,1],"datatype":"INT32","data":%s}]}`, n, data))
		if err != nil {
			t.Errorf("asking for %s: %v", model, err)
			return answered
		}
		if a.status == fasthttp.StatusNotFound && absent != nil {
			absent.Add(1)
			<-time.After(time.Millisecond)
			continue
		}
		if a.status != 200 || !strings.Contains(string(a.body), strings.ReplaceAll(string(data), " ", "")) {
			t.Errorf("asking for %s: %d: %s", model, a.status, a.body)
			return answered
		}
		answered++
		for _, r := range rows {
			sent.Store(r, true)
		}
	}
	return answered
}

// TestReloadUnderLoad changes everything that can change all the time, while clients ask. No
// request fails, every row runs exactly once, and nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	fds, routines := descriptors(t), runtime.NumGoroutine()
	l := newLedger(t, 4)
	rng := rand.New(rand.NewPCG(1, 2))
	s := serveConfig(t, parsed(t, randomPool(rng, l)), Options{})
	var stop atomic.Bool
	var clients sync.WaitGroup
	var sent sync.Map
	var absent, answered atomic.Int64
	for me := range 8 {
		clients.Go(func() { answered.Add(int64(asker(t, s, me, []string{"m", "n"}[me%2], &stop, &sent, nil))) })
	}
	clients.Go(func() { asker(t, s, 8, "extra", &stop, &sent, &absent) })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	reloads, refused := 0, 0
	enough := func() bool { return reloads >= 30 && absent.Load() > 0 }
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end) || !enough(); <-tick.C {
		text := randomPool(rng, l)
		if reloads%7 == 6 { // and one that cannot be
			if err := s.app.Reload(parsed(t, "policy: fcfs\n"+text)); err == nil || !strings.Contains(err.Error(), "policy cannot change") {
				t.Errorf("another policy: %v", err)
			}
			refused++
		}
		if err := s.app.Reload(parsed(t, text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		reloads++
	}
	stop.Store(true)
	clients.Wait()
	text := s.page(t, "/metrics")
	for _, want := range []string{
		fmt.Sprintf(`motley_config_reloads_total{result="failed"} %d`, refused), fmt.Sprintf(`motley_config_reloads_total{result="ok"} %d`, reloads),
		"motley_config_last_reload_successful 1", `motley_retries_total{model="m"} 0`, `motley_retries_total{model="n"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s:\n%s", want, retries(text))
		}
	}
	s.stop(t)
	l.close()
	rows := 0
	sent.Range(func(row, _ any) bool {
		rows++
		if l.rows[row.(int)] != 1 {
			t.Errorf("row %d ran %d times", row, l.rows[row.(int)])
		}
		return !t.Failed()
	})
	t.Logf("%d reloads, %d refused; %d requests of 2 models and %d rows in all answered; %d requests found a model absent", reloads, refused, answered.Load(), rows, absent.Load())
	if answered.Load() < 200 {
		t.Errorf("too little happened")
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		f, n := descriptors(t), runtime.NumGoroutine()
		if f <= fds && n <= routines+2 { // the HTTP library keeps one for the date, and one for names
			break
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d descriptors, there were %d; %d goroutines, there were %d\n%s", f, fds, n, routines, buf[:runtime.Stack(buf, true)])
		}
	}
}

// retries are the lines of a page that say who was tried again, and which workers failed.
func retries(page string) (lines string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "motley_retries") || strings.HasPrefix(line, "motley_worker_batches") || strings.HasPrefix(line, "motley_config") {
			lines += line
		}
	}
	return lines
}
