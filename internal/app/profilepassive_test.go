package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/fleet"
	"motley/internal/oip"
	"motley/internal/pool"
	"motley/internal/sim"
)

// emulatedServers are two model servers that take as long as rows say.
func emulatedServers(t *testing.T, rows []pool.Row) []fleet.Server {
	t.Helper()
	truth, err := sim.TruthFromRows(rows, "m", "there")
	if err != nil {
		t.Fatal(err)
	}
	shape := []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}}
	cfg := fleet.Config{Listen: "127.0.0.1:0", Binary: true, Seed: 1, Models: []fleet.Model{{Name: "m", Inputs: shape, Outputs: shape}}}
	for i := range 2 {
		cfg.Workers = append(cfg.Workers, fleet.Worker{Name: fmt.Sprint("w", i), Type: "there", Truth: []*sim.Truth{truth}, MaxBatch: []int{8}})
	}
	f, err := fleet.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return f.Servers()
}

// load keeps a server busy with batches of 1 to 8 rows until ctx ends.
func load(ctx context.Context, url string) error {
	for n := 0; ctx.Err() == nil; n++ {
		rows := 1 << (n % 4)
		body := fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,2],"data":[%s1]}]}`, rows, strings.Repeat("1,", 2*rows-1))
		resp, err := http.Post(url+"/v2/models/m/infer", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			return fmt.Errorf("status %d, %v", resp.StatusCode, err)
		}
	}
	return nil
}

// Passive profiles of emulated servers under load are the latencies that they are
// paced by, within 2 %.
func TestPassiveProfile(t *testing.T) {
	if testing.Short() {
		t.Skip("it watches for 2 s")
	}
	var rows []pool.Row
	for _, n := range []int{1, 2, 4, 8} {
		mean := time.Millisecond + time.Duration(n)*200*time.Microsecond
		rows = append(rows, pool.Row{Model: "m", InstanceType: "there", Point: pool.Point{Batch: n, Mean: mean, P99: mean * 11 / 10}})
	}
	servers := emulatedServers(t, rows)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			if err := load(ctx, s.URL); err != nil {
				t.Error(err)
			}
		})
	}
	defer wg.Wait()
	defer stop()
	cfg, err := config.Parse("remote", fmt.Appendf(nil, `
models: [{name: m}]
instance_types: [{name: there}]
workers:
  - {name: w0, type: there, remote: {url: %q}}
  - {name: w1, type: there, remote: {url: %q}}
`, servers[0].URL, servers[1].URL))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "p.csv")
	var text bytes.Buffer
	if err := ProfilePassively(ctx, cfg, ProfileOptions{Budget: 2 * time.Second, Every: 300 * time.Millisecond, Out: out, Log: quiet()}, &text); err != nil {
		t.Fatalf("%v\n%s", err, &text)
	}
	t.Log("\n" + text.String())
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := pool.ReadProfiles(f)
	if err != nil || len(got) != len(rows) {
		t.Fatalf("%v, %+v", err, got)
	}
	for i, r := range got {
		if off := float64(r.Mean)/float64(rows[i].Mean) - 1; math.Abs(off) > 0.02 || r.P99 != 0 {
			t.Errorf("%d items: %v, p99 %v, off by %+.2f %%", r.Batch, r.Mean, r.P99, 100*off)
		}
	}
	if !strings.Contains(text.String(), "batches that w0, w1 counted in 2") {
		t.Errorf("the report:\n%s", &text)
	}
}

// What cannot be watched says why.
func TestPassiveProfileRefuses(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/quiet/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"model_stats":[{"name":"quiet","version":"1"}]}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	cfg, err := config.Parse("remote", fmt.Appendf(nil, `
models: [{name: quiet}, {name: without}, {name: fashion}]
instance_types: [{name: there}, {name: here}]
workers:
  - {name: w, type: there, models: [quiet, without], remote: {url: %q}}
  - {name: v, type: here, models: [fashion], embedded: {}}
`, server.URL))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	err = ProfilePassively(t.Context(), cfg, ProfileOptions{Budget: 200 * time.Millisecond, Every: 100 * time.Millisecond, Log: quiet()}, &text)
	for _, want := range []string{
		"quiet on there: nothing was executed on w in",
		"without on there: worker w: the server keeps no statistics: GET /v2/models/without/stats answers 404",
		"fashion on here: worker v is not a remote server",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
