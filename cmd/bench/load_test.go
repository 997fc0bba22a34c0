package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// infer serves models of any name, with rows of two values; it answers with the
// rows it was asked for, or less where short says so.
func infer(t *testing.T, short *atomic.Bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		model, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/models/"), "/")
		switch r.Method + " " + action {
		case "GET ":
			_, _ = fmt.Fprintf(w, `{"name":%q,"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}]}`, model)
		case "POST infer":
			var body struct {
				Inputs []struct{ Shape []int }
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			rows := body.Inputs[0].Shape[0]
			if short.Load() {
				rows--
			}
			w.Header().Set("X-Motley-Exit", "1")
			data := strings.TrimSuffix(strings.Repeat("1,", rows), ",")
			_, _ = fmt.Fprintf(w, `{"model_name":%q,"outputs":[{"name":"y","datatype":"FP32","shape":[%d],"data":[%s]}]}`, model, rows, data)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestLoad runs load from the command line, twice the same server as two
// targets, and makes a page of what it wrote.
func TestLoad(t *testing.T) {
	var short atomic.Bool
	url := infer(t, &short)
	dir := t.TempDir()
	raw, page := filepath.Join(dir, "r.bin"), filepath.Join(dir, "p.html")
	common := " -model m -warmup 20ms -duration 150ms -connections 16 -sizes fixed:3 -q"
	two := "load -url " + url + " -url " + url + "/ -qos 1s" + common

	stdout, stderr, status := do(strings.Fields(two + " -rate 200..400 -steps 2 -rounds 2 -json -o " + raw)...)
	var rows []map[string]any
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil || status != 0 || len(rows) != 4+8 {
		t.Fatalf("%v, status %d, %d rows, %q:\n%s", err, status, len(rows), stderr, stdout)
	}
	for _, row := range rows {
		for _, key := range strings.Split("target model round rate_qps offered_qps achieved_qps goodput_qps rows_per_s qos_ms qos_ok allowable_qps seconds scheduled sent ok errors statuses "+
			"mean_ms p50_ms p90_ms p95_ms p99_ms p999_ms p9999_ms max_ms own_p50_ms own_p99_ms own_max_ms waited wait_p99_ms labelled_rows accuracy exits", " ") {
			if _, ok := row[key]; !ok {
				t.Errorf("no key %s in %v", key, row)
			}
		}
		exits, _ := row["exits"].(map[string]any)
		if n, ok := row["ok"].(float64); !ok || n < 10 || n != row["scheduled"] || exits["1"] != n || row["accuracy"] != nil {
			t.Errorf("%v", row)
		}
	}

	stdout, stderr, status = do(strings.Fields("load -url " + url + " -model n -rate 400 -json" + common)...)
	byModel := map[any]float64{}
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil || status != 0 || len(rows) != 3 {
		t.Fatalf("%v, status %d, %d rows, %q:\n%s", err, status, len(rows), stderr, stdout)
	}
	for _, row := range rows {
		byModel[row["model"]], _ = row["ok"].(float64)
	}
	if byModel["n"] < 10 || byModel["m"] < 10 || byModel["n,m"] != byModel["n"]+byModel["m"] {
		t.Errorf("answers by model: %v", byModel)
	}

	stdout, stderr, status = do("report", raw, "-o", page, "-title", "T")
	text, err := os.ReadFile(page)
	if err != nil || status != 0 || stdout != "" || !strings.Contains(string(text), "<h1>T</h1>") || strings.Count(string(text), "<h3>") != 2+4 {
		t.Errorf("%v, status %d, %q:\n%.3000s", err, status, stderr, text)
	}

	stdout, stderr, status = do(strings.Fields(two + " -rate 300")...)
	for _, want := range []string{"p99.99", "achieved", "own p50", "answers by exit 1 ", "÷ " + url} {
		if status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("status %d, no %q, %q:\n%s", status, want, stderr, stdout)
		}
	}

	// A QoS that nothing meets: any other is searched up to where the machine ends.
	stdout, stderr, status = do(strings.Fields("load -url " + url + " -search -rate 20 -qos 1ns" + common)...)
	if status != 1 || !strings.Contains(stdout, "no rate was within 1ns for 99 %") {
		t.Errorf("status %d, %q:\n%s", status, stderr, stdout)
	}

	short.Store(true)
	if stdout, stderr, status = do(strings.Fields(two + " -rate 100")...); status != 1 || !strings.Contains(stderr, "nothing was answered as it was asked for") {
		t.Errorf("wrong answers: status %d, %q:\n%s", status, stderr, stdout)
	}
}
