package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// do runs a command line and returns what it printed and its exit status.
func do(args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	err := run(args, &out, &errs)
	status = exit(err, &errs)
	return out.String(), errs.String(), status
}

// TestTranscript holds what command lines that make no sense, and files that
// are wrong, are answered with.
func TestTranscript(t *testing.T) {
	const golden = "testdata/errors.txt"
	file, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	lines := 0
	for line := range strings.Lines(string(file)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ bench")
		if strings.HasPrefix(line, "#") {
			got.WriteString(line)
		}
		if !ok {
			continue
		}
		lines++
		stdout, stderr, status := do(strings.Fields(command)...)
		fmt.Fprintf(&got, "$ bench%s\n%s", command, stderr)
		if stdout != "" {
			fmt.Fprintf(&got, "printed %q\n", stdout)
		}
		fmt.Fprintf(&got, "exit %d\n\n", status)
	}
	if lines < 20 {
		t.Fatalf("%s has %d command lines", golden, lines)
	}
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(file) {
		want := strings.Split(string(file), "\n")
		for i, line := range strings.Split(got.String(), "\n") {
			if i >= len(want) || line != want[i] {
				t.Fatalf("%s, line %d: now %q (-rewrite writes it anew)", golden, i+1, line)
			}
		}
		t.Fatalf("%s: now shorter", golden)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"-h", "help", "sim -h", "plan --help", "suite kairos -h", "exits -h", "record -h", "workers -h", "suite exits -h"} {
		stdout, stderr, status := do(strings.Fields(args)...)
		if stdout != usage || stderr != "" || status != 0 {
			t.Errorf("bench %s: status %d, printed %d bytes and %q", args, status, len(stdout), stderr)
		}
	}
}

// TestJSON: the array is all there is on standard output, and the keys that
// others rely on are in every object.
func TestJSON(t *testing.T) {
	sim := strings.Split("model mix policy arrivals qos_ms percentile rate_qps qos_ok allowable_qps p50_ms p99_ms cost_usd_h bounds", " ")
	const few = " -requests 500 -seeds 1 -json"
	for _, c := range []struct {
		args string
		rows int
		keys []string
	}{
		{"sim -model wnd -mix g4dn.xlarge=1 -rate 50" + few, 1, sim},
		{"sim -model wnd -mix g4dn.xlarge=1 -search -policy all" + few, 0, sim},
		{"plan -model wnd -budget 0.8 -candidates 2" + few, 2, strings.Split("model mix policy arrivals qos_ms percentile allowable_qps cost_usd_h bounds role rank goodput_qps estimate_qps", " ")},
	} {
		stdout, stderr, status := do(strings.Fields(c.args)...)
		var rows []map[string]any
		if err := json.Unmarshal([]byte(stdout), &rows); err != nil || status != 0 || len(rows) == 0 || c.rows > 0 && len(rows) != c.rows {
			t.Fatalf("bench %s: %v, status %d, %d rows, %q:\n%s", c.args, err, status, len(rows), stderr, stdout)
		}
		for _, row := range rows {
			for _, key := range c.keys {
				if _, ok := row[key]; !ok {
					t.Errorf("bench %s: no key %s in %v", c.args, key, row)
				}
			}
			bounds, _ := row["bounds"].(map[string]any)
			for _, key := range []string{"kairos_ub", "lp", "lp_shed", "batching", "merged"} {
				// A plan may be of mixes that run the largest sizes only in parts.
				least := 1.0
				if row["role"] != nil && key != "batching" && key != "merged" {
					least = 0
				}
				if v, ok := bounds[key].(float64); !ok || !(v >= least) {
					t.Errorf("bench %s: bounds.%s is %v", c.args, key, bounds[key])
				}
			}
		}
	}
}

// TestExitsJSON: the same of recordings.
func TestExitsJSON(t *testing.T) {
	keys := "controller mode target agreement agreement_low95 worst_window windows_below latency_saved_mean latency_saved_median compute_saved p95_overhead audit_share recover_requests segments"
	stdout, stderr, status := do("exits", "-stream", "testdata/stream.csv", "-controller", "all", "-calibration", "testdata/stream.csv", "-target", "0.9", "-json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil || status != 0 || len(rows) != 10 {
		t.Fatalf("%v, status %d, %d rows, %q:\n%s", err, status, len(rows), stderr, stdout)
	}
	for _, row := range rows {
		for _, key := range strings.Fields(keys) {
			v, is := row[key]
			if share, number := v.(float64); !is || number && key != "recover_requests" && !(share >= -1 && share <= 1) {
				t.Errorf("%v of %v: %s is %v", row["mode"], row["controller"], key, v)
			}
		}
	}
}

// TestTables: people get a table, and a plot where they ask for one.
func TestTables(t *testing.T) {
	plot := filepath.Join(t.TempDir(), "plot.svg")
	for _, c := range []struct{ args, want string }{
		{"sim -model wnd -mix g4dn.xlarge=1 -rate 50 -requests 500 -seeds 1", "bounds, requests/s"},
		{"plan -model wnd -budget 0.8 -candidates 2 -requests 500 -seeds 1", "\nAdd next: one "},
		{"plan -model rm2 -budget 0.4 -candidates 2 -requests 500 -seeds 1", " on in parts, in batches"},
		{"plan -model rm2 -budget 0.8 -no-merge -candidates 2 -requests 500 -seeds 1", ", one by one)"},
		{"exits -stream testdata/stream.csv -window 10", "clairvoyant"},
		{"suite kairos -quick -models ncf -plot " + plot, "motley ÷ kairos"},
	} {
		if testing.Short() && strings.HasPrefix(c.args, "suite") {
			continue
		}
		stdout, stderr, status := do(strings.Fields(c.args)...)
		if status != 0 || !strings.Contains(stdout, c.want) {
			t.Errorf("bench %s: status %d, %q:\n%s", c.args, status, stderr, stdout)
		}
	}
	if testing.Short() {
		return
	}
	drawn, err := os.ReadFile(plot)
	if err != nil || !bytes.Contains(drawn, []byte("</svg>")) || !bytes.Contains(drawn, []byte("motley")) {
		t.Errorf("the plot: %d bytes, %v", len(drawn), err)
	}
}
