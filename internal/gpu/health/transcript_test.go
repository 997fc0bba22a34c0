package health

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts replays what happened to workers and compares how they were
// judged. A line is an instant and a command:
//
//	0s worker w0 TYPE [top=MHZ]
//	1s sample w0 [KEY=VALUE…]   readings; access= detail= xid=SEQ:CODE too
//	2s batches w0 COUNT RATIO   each took RATIO times what was expected;
//	                            of several workers (a,b,c) in turn
//	3s restarted w0
//	4s judge w0
//
// What follows a judge line is the judgement, and is compared.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts:", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := replay(string(want))
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("got\n%s", difference(string(want), got))
			}
		})
	}
}

func difference(want, got string) string {
	var out bytes.Buffer
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			fmt.Fprintf(&out, "%d: -%s\n%d: +%s\n", i+1, a, i+1, b)
		}
	}
	return out.String()
}

func replay(script string) (string, error) {
	var out strings.Builder
	fleet := NewFleet(Config{})
	workers := map[string]*Worker{}
	for n, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, ">") {
			continue
		}
		out.WriteString(line + "\n")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := step(&out, fleet, workers, words); err != nil {
			return "", fmt.Errorf("line %d: %s: %w", n+1, line, err)
		}
	}
	return out.String(), nil
}

func step(out *strings.Builder, fleet *Fleet, workers map[string]*Worker, words []string) error {
	at, err := time.ParseDuration(words[0])
	if err != nil || len(words) < 3 {
		return fmt.Errorf("want an instant, a command and a worker: %w", err)
	}
	now, name, rest := mono.Time(at), words[2], words[3:]
	w := workers[name]
	switch words[1] {
	case "worker":
		w = fleet.Add(rest[0])
		for _, o := range rest[1:] {
			mhz, err := strconv.ParseFloat(strings.TrimPrefix(o, "top="), 64)
			if err != nil {
				return err
			}
			w.Describe(device.Device{SMClockMaxMHz: device.Of(mhz)})
		}
		workers[name] = w
	case "sample":
		s, err := sampleOf(rest)
		if err != nil {
			return err
		}
		w.Sample(now, s)
	case "batches":
		count, err1 := strconv.Atoi(rest[0])
		ratio, err2 := strconv.ParseFloat(rest[1], 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("want a count and a ratio")
		}
		for i := range count { // a little scatter: 2 % up and down
			wobble := 1 + 0.02*float64(i%3-1)
			for _, name := range strings.Split(name, ",") {
				workers[name].Batch(time.Duration(1e7*ratio*wobble), 1e7)
			}
		}
	case "restarted":
		w.Restarted()
	case "judge":
		j := w.Judge(now)
		fmt.Fprintf(out, "> %v since %v slowdown=%.2f uncertainty=%.2f ramp=%.2f %v", j.State, j.Since, j.Slowdown, j.Uncertainty, j.Ramp, j.Action)
		if j.Stale {
			out.WriteString(" stale")
		}
		out.WriteString("\n")
		for _, e := range j.Evidence {
			out.WriteString(">   " + e + "\n")
		}
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

// sampleOf reads KEY=VALUE words.
func sampleOf(words []string) (device.Sample, error) {
	s := device.Sample{Device: "d", Access: device.Reachable}
	numbers := map[string]*device.Number{
		"temp": &s.TemperatureC, "sm": &s.SMClockMHz, "mem": &s.MemoryClockMHz, "util": &s.Utilisation,
		"unc": &s.ECC.VolatileUncorrected, "cor": &s.ECC.VolatileCorrected, "replay": &s.PCIeReplay,
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if n := numbers[key]; n != nil {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return s, err
			}
			*n = device.Of(v)
			continue
		}
		switch key {
		case "access":
			s.Access = device.Access(value)
		case "detail":
			s.Detail = strings.ReplaceAll(value, "_", " ")
		case "throttle":
			if err := s.Throttle.UnmarshalJSON([]byte(`["` + strings.ReplaceAll(value, "+", `","`) + `"]`)); err != nil {
				return s, err
			}
		case "xid":
			var x device.XID
			if _, err := fmt.Sscanf(value, "%d:%d", &x.Seq, &x.Code); err != nil {
				return s, err
			}
			s.XIDs = append(s.XIDs, x)
		case "recovery":
			s.Recovery = device.Recovery(value)
		case "failed":
			s.Rows.Failed = true
		case "pending":
			s.Rows.Pending = true
		case "age":
			age, err := time.ParseDuration(value)
			if err != nil {
				return s, err
			}
			s.Age = age
		case "held":
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return s, err
			}
			s.Load = &device.Load{Throttled: device.Of(v)}
		default:
			return s, fmt.Errorf("no such reading as %q", word)
		}
	}
	return s, s.Check()
}
