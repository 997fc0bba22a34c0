package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/config"
	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/live"
	"motley/internal/oip"
)

// fashionImages reads n pictures of Fashion-MNIST's train or t10k set.
func fashionImages(t testing.TB, set string, n int) []picture {
	t.Helper()
	dir := os.Getenv("MOTLEY_FASHION_DIR")
	if dir == "" {
		dir = "/usr/share/datasets/fashion-mnist"
	}
	f, err := os.Open(filepath.Join(dir, set+"-images-idx3-ubyte.gz"))
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: no Fashion-MNIST (Debian package dataset-fashion-mnist, or MOTLEY_FASHION_DIR): %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 16+784*n)
	if _, err := io.ReadFull(z, data); err != nil {
		t.Fatal(err)
	}
	all := make([]picture, n)
	for i := range all {
		for _, b := range data[16+784*i:][:784] {
			all[i] = append(all[i], float32(b)/255)
		}
	}
	return all
}

// recordExits runs pictures through all exits of the built-in model and writes
// down what those say, in the form of a calibration file.
func recordExits(t testing.TB, all []picture) []byte {
	t.Helper()
	m, err := engine.Builtin("fashion")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	staged := m.(engine.Staged)
	ramps := staged.Stages() - 1
	var out bytes.Buffer
	out.WriteString("# model=fashion\ni,final_pred")
	for _, name := range []string{"conf", "agree", "pred", "margin", "entropy"} {
		for r := range ramps {
			fmt.Fprintf(&out, ",%s%d", name, r)
		}
	}
	for i, p := range all {
		e, err := staged.Begin([]oip.Tensor{{Name: "image", Datatype: oip.FP32, Shape: []int64{1, 1, 28, 28}, Data: p.bytes()}})
		if err != nil {
			t.Fatal(err)
		}
		var signals []earlyexit.Signal
		for !e.Done() {
			x, err := e.Next(context.Background(), true)
			if err != nil {
				t.Fatal(err)
			}
			signals = append(signals, earlyexit.SignalOf(x.Probabilities))
		}
		e.Close()
		end := signals[ramps]
		fmt.Fprintf(&out, "\n%d,%d", i, end.Class)
		for _, of := range []func(earlyexit.Signal) any{
			func(s earlyexit.Signal) any { return s.Confidence },
			func(s earlyexit.Signal) any {
				if s.Class == end.Class {
					return 1
				}
				return 0
			},
			func(s earlyexit.Signal) any { return s.Class },
			func(s earlyexit.Signal) any { return s.Margin },
			func(s earlyexit.Signal) any { return s.Entropy },
		} {
			for _, s := range signals[:ramps] {
				fmt.Fprintf(&out, ",%v", of(s))
			}
		}
	}
	out.WriteString("\n")
	return out.Bytes()
}

// fullLabels is what the whole model says of each picture.
func fullLabels(t testing.TB, all []picture) []int {
	t.Helper()
	m, err := engine.Builtin("fashion")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var labels []int
	for part := range slices.Chunk(all, 64) {
		var data []byte
		for _, p := range part {
			data = append(data, p.bytes()...)
		}
		out, err := m.Run(context.Background(), []oip.Tensor{{
			Name: "image", Datatype: oip.FP32, Shape: []int64{int64(len(part)), 1, 28, 28}, Data: data,
		}}, []string{"probabilities"})
		if err != nil {
			t.Fatal(err)
		}
		for row := range slices.Chunk(floats(out[0].Data), 10) {
			labels = append(labels, slices.Index(row, slices.Max(row)))
		}
	}
	return labels
}

// exitsConfig is the built-in configuration with early exit in a mode, warm
// from a calibration file, and state kept in dir.
func exitsConfig(t testing.TB, dir string, mode earlyexit.Mode, calibration []byte) *config.Config {
	t.Helper()
	early := fmt.Sprintf("max_batch: 64\n    early_exit: {mode: %v, calibration: exits.csv}", mode)
	text := strings.Replace(string(config.Default()), "max_batch: 64", early, 1)
	text += "\nlearned: {file: router.learned}\n"
	path := filepath.Join(dir, "router.yaml")
	for name, data := range map[string][]byte{path: []byte(text), filepath.Join(dir, "exits.csv"): calibration} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Models[0].QoS.Target = time.Minute // other tests run beside this one
	return cfg
}

// ranking is what a client was told of a picture.
type ranking struct {
	label, exit int
	took        time.Duration
}

// rankHead asks for the label of one picture, which follows in binary.
const rankHead = `{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"FP32","parameters":{"binary_data_size":3136}}],"outputs":[{"name":"label"}]}`

// rank asks the router for the label of a picture.
func rank(c *fasthttp.HostClient, p picture) (ranking, error) {
	a, err := infer(c, "fashion", len(rankHead), append([]byte(rankHead), p.bytes()...))
	if err != nil {
		return ranking{}, err
	}
	var r struct {
		Parameters struct {
			Exit  *int  `json:"ee_exit"`
			Final *bool `json:"ee_final"`
		}
		Outputs []struct{ Data []int }
	}
	if err := json.Unmarshal(a.body, &r); a.status != 200 || err != nil || len(r.Outputs) != 1 || len(r.Outputs[0].Data) != 1 {
		return ranking{}, fmt.Errorf("status %d, %v: %s", a.status, err, a.body)
	}
	exit := -1
	if r.Parameters.Exit != nil {
		exit = *r.Parameters.Exit
	}
	return ranking{r.Outputs[0].Data[0], exit, a.took}, nil
}

const rampsOfFashion = 6

// TestEarlyExits runs the router with the embedded model in each mode, warm
// from recorded training pictures, over test pictures that it has never seen: in
// closed loop, then in open loop. Every request is answered once; how many of the
// answers are the full model's is counted by running that beside it, and held
// against the target and against what the router's own audits say.
func TestEarlyExits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of both CPUs")
	}
	calibration := recordExits(t, fashionImages(t, "train", 1500))
	images := fashionImages(t, "t10k", 4000)
	labels := fullLabels(t, images)
	for _, mode := range []earlyexit.Mode{earlyexit.Latency, earlyexit.Compute} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := exitsConfig(t, t.TempDir(), mode, calibration)
			s := serveConfig(t, cfg, Options{})
			c := s.client(64)
			var mu sync.Mutex
			exits := map[int]int{}
			wrong := 0
			ask := func(i int) error {
				r, err := rank(c, images[i])
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				exits[r.exit]++
				if r.label != labels[i] {
					wrong++
					if r.exit == rampsOfFashion {
						return fmt.Errorf("picture %d: the model says %d, and its answer %d, without leaving early", i, labels[i], r.label)
					}
				}
				return nil
			}
			const closedLoop, openLoop200 = 3600, 400
			var clients sync.WaitGroup
			for k := range 8 {
				clients.Go(func() {
					for i := k; i < closedLoop; i += 8 {
						if err := ask(i); err != nil {
							t.Error(err)
						}
					}
				})
			}
			clients.Wait()
			openLoop(t, 200, openLoop200, func(i int) error { return ask(closedLoop + i) })
			s.stop(t) // what runs on is learned by then
			r := s.app.pool.gates[0].Report()

			const n = closedLoop + openLoop200
			early, answered := 0, 0
			for exit, k := range exits {
				answered += k
				if exit < 0 || exit > rampsOfFashion {
					t.Errorf("%d answers say that they left by exit %d", k, exit)
				} else if exit < rampsOfFashion {
					early += k
				}
			}
			t.Logf("%d answers, by exit %v; %d of them not the model's, the router's estimate: %.1f", answered, exits, wrong, r.Disagreed)
			t.Logf("%d audited, agreement at least %.4f, certified %.4f", r.Audited, r.Low95, 1-r.Certified)
			// In mode latency ramps are left out where requests wait for long.
			seen := r.Seen == n || mode == earlyexit.Latency && r.Seen > n/2 && r.Seen < n
			if answered != n || !seen || int(r.Exited) != early || r.Lost != 0 {
				t.Errorf("%d requests: %d answered, %d early; the router has seen %d, %d early, %d lost", n, answered, early, r.Seen, r.Exited, r.Lost)
			}
			if early < n/3 {
				t.Errorf("only %d of %d left early", early, n)
			}
			// 2.33 standard deviations: one run in a hundred is worse at the very target.
			if least := 0.99 - 2.33*math.Sqrt(0.01*0.99/n); float64(n-wrong) < least*n {
				t.Errorf("%d of %d answers are the model's, want a share of %.4f", n-wrong, n, least)
			}
			off := 0.5
			if mode == earlyexit.Compute { // audits are a sample
				off = 4 * math.Sqrt(float64(wrong+1)/0.04)
			}
			if math.Abs(r.Disagreed-float64(wrong)) > off {
				t.Errorf("the audits say that %.1f answers are not the model's, and it were %d", r.Disagreed, wrong)
			}
			again, err := New(cfg, Options{Log: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			if b := again.pool.gates[0].Report(); b.Seen != r.Seen || b.Disagreed != r.Disagreed || b.Tau != r.Tau {
				t.Errorf("after a restart it goes on with %+v, and stopped with %+v", b, r)
			}
			if err := again.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEarlyExitsAreSooner compares, at the same rate and far from where anything
// waits, when half of the answers have left the worker with early exit on and
// off. Other tests share the machine, so that one of a few tries need show it.
func TestEarlyExitsAreSooner(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of both CPUs")
	}
	calibration := recordExits(t, fashionImages(t, "train", 1500))
	images := fashionImages(t, "t10k", 300)
	median := func(mode earlyexit.Mode) (left, call time.Duration) {
		a, err := New(exitsConfig(t, t.TempDir(), mode, calibration), Options{Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var lefts, calls []time.Duration
		openLoop(t, 100, len(images), func(i int) error {
			r := &live.Request{Size: 1, MergeKey: 1, Mode: earlyexit.Compute}
			r.Call.Request = new(oip.Request)
			if err := r.Call.Request.Parse(append([]byte(rankHead), images[i].bytes()...), len(rankHead), nil); err != nil {
				return err
			}
			start := time.Now()
			err := a.Loop().Do(r)
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			lefts, calls = append(lefts, r.Queued+r.Ran), append(calls, took)
			return err
		})
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
		slices.Sort(lefts)
		slices.Sort(calls)
		return lefts[len(lefts)/2], calls[len(calls)/2]
	}
	for range 4 {
		off, offCall := median(earlyexit.Off)
		on, onCall := median(earlyexit.Latency)
		t.Logf("median until the answer has left, at 100/s: %v off, %v on, %.0f %% less; until its client has it: %v, %v", off, on, 100*(1-float64(on)/float64(off)), offCall, onCall)
		if float64(on) <= 0.6*float64(off) {
			return
		}
	}
	t.Error("never 40 % sooner")
}

// TestEarlyExitsOfARemoteWorker has one router ask another for the answers of
// its ramps: the gate opens when that has answered, and what the far model says
// in the end is what its ramps are held against.
func TestEarlyExitsOfARemoteWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of both CPUs")
	}
	const n = 1200
	images := fashionImages(t, "t10k", n)
	labels := fullLabels(t, images)
	far, err := config.Parse("far", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	far.Models[0].QoS.Target = time.Minute
	behind := serveConfig(t, far, Options{})
	for _, mode := range []earlyexit.Mode{earlyexit.Latency, earlyexit.Compute} {
		t.Run(mode.String(), func(t *testing.T) {
			dir := t.TempDir()
			cfg := exitsConfig(t, dir, mode, recordExits(t, fashionImages(t, "train", 1500)))
			cfg.Workers[0].Embedded = nil
			cfg.Workers[0].Count, cfg.Workers[0].Concurrency = 1, 4
			cfg.Workers[0].Remote = &config.Remote{
				URL: "http://" + behind.addr, Binary: "auto", Timeout: 30 * time.Second, Connections: 64, ProbeInterval: time.Second,
			}
			s := serveConfig(t, cfg, Options{})
			c := s.client(16)
			var mu sync.Mutex
			wrong, early := 0, 0
			var clients sync.WaitGroup
			for k := range 8 {
				clients.Go(func() {
					for i := k; i < n; i += 8 {
						r, err := rank(c, images[i])
						if err != nil {
							t.Error(err)
							continue
						}
						mu.Lock()
						if r.label != labels[i] {
							wrong++
						}
						if r.exit >= 0 && r.exit < rampsOfFashion {
							early++
						}
						mu.Unlock()
					}
				})
			}
			clients.Wait()
			s.stop(t)
			r := s.app.pool.gates[0].Report()
			t.Logf("%d of %d answers early, %d not the model's, the router's estimate %.1f of %d audits, %d lost", early, n, wrong, r.Disagreed, r.Audited, r.Lost)
			if r.Seen != n || int(r.Exited) != early || early < n/10 || r.Lost > 0 {
				t.Errorf("%d answers early; the router has seen %d, %d early, lost %d", early, r.Seen, r.Exited, r.Lost)
			}
			if least := 0.99 - 2.33*math.Sqrt(0.01*0.99/n); float64(n-wrong) < least*n {
				t.Errorf("%d of %d answers are the model's, want a share of %.4f", n-wrong, n, least)
			}
		})
	}
}
