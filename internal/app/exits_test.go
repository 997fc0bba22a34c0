package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	cfg.Models[0].QoS.Target = 2 * time.Second // other tests run beside this one
	return cfg
}

// outcomeOf is what a client got for a picture.
type outcomeOf struct {
	label, exit int
	took        time.Duration
}

// askLoop asks the loop for the label of a picture.
func askLoop(l *live.Loop, p picture) (outcomeOf, error) {
	const head = `{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"FP32","parameters":{"binary_data_size":3136}}],"outputs":[{"name":"label"}]}`
	r := &live.Request{Size: 1, MergeKey: 1, Mode: earlyexit.Compute}
	r.Call.Request = new(oip.Request)
	if err := r.Call.Request.Parse(append([]byte(head), p.bytes()...), len(head), nil); err != nil {
		return outcomeOf{}, err
	}
	start := time.Now()
	err := l.Do(r)
	took := time.Since(start)
	if err != nil {
		return outcomeOf{}, err
	}
	var resp struct {
		Outputs []struct {
			Data []int
		}
	}
	if err := json.Unmarshal(r.Call.Response.Body, &resp); err != nil {
		return outcomeOf{}, err
	}
	return outcomeOf{label: resp.Outputs[0].Data[0], exit: r.Exit, took: took}, nil
}

// TestEarlyExits runs the router with the embedded model in each mode, warm
// from recorded training pictures, over test pictures that it has never seen.
func TestEarlyExits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of both CPUs")
	}
	calibration := recordExits(t, fashionImages(t, "train", 1500))
	images := fashionImages(t, "t10k", 10_000)
	labels := fullLabels(t, images)
	for _, rate := range []float64{200, 400, 600} {
		for _, mode := range []earlyexit.Mode{earlyexit.Off, earlyexit.Latency, earlyexit.Compute} {
			a, err := New(exitsConfig(t, t.TempDir(), mode, calibration), Options{})
			if err != nil {
				t.Fatal(err)
			}
			l := a.Loop()
			var mu sync.Mutex
			var all []outcomeOf
			wrong, early := 0, 0
			n := int(3 * rate)
			took := openLoop(t, rate, n, func(i int) error {
				o, err := askLoop(l, images[i])
				mu.Lock()
				defer mu.Unlock()
				all = append(all, o)
				if o.label != labels[i] {
					wrong++
				}
				if o.exit >= 0 && o.exit < 6 {
					early++
				}
				return err
			})
			slices.Sort(took)
			slices.SortFunc(all, func(a, b outcomeOf) int { return int(a.took - b.took) })
			t.Logf("in call p50 %v p90 %v p99 %v", all[n/2].took, all[n*9/10].took, all[n*99/100].took)
			t.Logf("rate %v mode %v: %d answers, %d early, %d wrong, p50 %v p99 %v", rate, mode, len(all), early, wrong, took[len(took)/2], took[len(took)*99/100])
			if g := a.pool.gates[0]; g != nil {
				r := g.Report(); t.Logf("audited %d tau %v safe %v", r.Audited, r.Tau, r.Safe)
			}
			if err := a.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
