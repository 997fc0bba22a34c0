package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/config"
	"motley/internal/earlyexit"
	"motley/internal/exitstream"
	"motley/internal/gate"
)

// exitParts are parts of one model in mode latency, with what was recorded, and
// the file of the profiles at path.
func exitParts(t *testing.T, path, recorded string, log *slog.Logger) *parts {
	t.Helper()
	cfg, err := config.Parse("test", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Learned.File = path
	cfg.Models[0].EarlyExit.Mode = "latency"
	if recorded != "" {
		s, err := exitstream.Read(strings.NewReader(recorded))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Models[0].EarlyExit.Calibration, cfg.Models[0].EarlyExit.Recorded = "exits.csv", s
	}
	p := &parts{}
	p.addGate(cfg, &cfg.Models[0], log)
	return p
}

// pass sends n rows past ramp 0 of a gate, which are right wherever they are
// sure, and returns how many left there.
func pass(g *gate.Gate, n int) int {
	early := 0
	for i := range n {
		s := earlyexit.Unseen
		s.Class, s.Confidence = int32(i%10), 0.999
		agree := uint32(3)
		if i%5 == 0 {
			s.Confidence, agree = 0.4, uint32(2+i/5%2)
		}
		r := &earlyexit.Row{Seq: uint64(i), Signals: []earlyexit.Signal{s, s}, Mode: earlyexit.Latency}
		v := make([]earlyexit.Verdict, 1)
		g.Decide(0, []*earlyexit.Row{r}, v)
		o := earlyexit.Outcome{Seq: r.Seq, Signals: r.Signals, Exit: -1, Audit: 1, Ran: true, Agree: agree, Class: s.Class}
		if v[0].Exit {
			early++
			o.Exit = 0
		}
		g.Learn([]earlyexit.Outcome{o})
	}
	return early
}

var twoRamps = gate.Exits{Ramps: 2, Classes: 10}

// TestExitState: a router goes on where the last one stopped, byte for byte, and
// touches nothing before it knows the ramps, nor where nothing is new.
func TestExitState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "learned")
	p := exitParts(t, path, "", quiet())
	if err := p.saveExits(); err != nil {
		t.Fatal(err)
	}
	state := path + ".fashion.exits"
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("saved before anything is known: %v", err)
	}
	if err := p.gates[0].Open(twoRamps); err != nil {
		t.Fatal(err)
	}
	pass(p.gates[0], 3000)
	if err := p.saveExits(); err != nil {
		t.Fatal(err)
	}
	first := read(t, state)

	again := exitParts(t, path, "", quiet())
	if err := again.saveExits(); err != nil || read(t, state) != first {
		t.Errorf("%v, or the file has changed before it was read", err)
	}
	if err := again.gates[0].Open(twoRamps); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := again.saveExits(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("written though nothing is new: %v", err)
	}
	if a, b := pass(p.gates[0], 100), pass(again.gates[0], 100); a != b || a == 0 {
		t.Errorf("of 100 rows %d leave early, and %d after a restart", a, b)
	}
	if a, b := p.gates[0].Report(), again.gates[0].Report(); fmt.Sprint(a) != fmt.Sprint(b) || b.Seen != 3100 {
		t.Errorf("%+v, after a restart %+v", a, b)
	}
	if got := files(t, path); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// TestExitStateDamaged: what makes no sense is kept aside, and the recorded
// exits count again.
func TestExitStateDamaged(t *testing.T) {
	var recorded strings.Builder
	recorded.WriteString("i,conf0,conf1,agree0,agree1\n")
	for i := range 3000 {
		if i%5 == 0 {
			fmt.Fprintf(&recorded, "%d,0.4,0.4,%d,1\n", i, i/5%2)
		} else {
			fmt.Fprintf(&recorded, "%d,0.999,0.999,1,1\n", i)
		}
	}
	path := filepath.Join(t.TempDir(), "learned")
	p := exitParts(t, path, recorded.String(), quiet())
	if err := p.gates[0].Open(twoRamps); err != nil {
		t.Fatal(err)
	}
	if early := pass(p.gates[0], 100); early < 20 {
		t.Errorf("only %d of 100 leave early, though 3,000 were recorded", early)
	}
	if err := p.saveExits(); err != nil {
		t.Fatal(err)
	}
	state := path + ".fashion.exits"
	good := read(t, state)
	for i, content := range []string{"", good[:len(good)/2], "model,instance_type\n" + strings.Repeat("x", 200), good + "x"} {
		if err := os.WriteFile(state, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		p := exitParts(t, path, recorded.String(), slog.New(slog.NewTextHandler(&log, nil)))
		if err := p.gates[0].Open(twoRamps); err != nil {
			t.Fatal(err)
		}
		aside := fmt.Sprintf("%s.damaged-%d", state, i+1)
		for _, want := range []string{"level=WARN", state + ": ", aside, "model=fashion"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, log.String())
			}
		}
		if got := read(t, aside); got != content {
			t.Errorf("%s holds %q, want %q", aside, got, content)
		}
		if r := p.gates[0].Report(); r.Seen != 0 {
			t.Errorf("something of it is used: %+v", r)
		}
		if early := pass(p.gates[0], 100); early < 20 {
			t.Errorf("only %d of 100 leave early", early)
		}
		if err := p.saveExits(); err != nil || read(t, state) != good {
			t.Errorf("saved after it: %v", err)
		}
	}
	// A state of other ramps is none of this model's.
	p = exitParts(t, path, "", quiet())
	if err := p.gates[0].Open(gate.Exits{Ramps: 3, Classes: 10}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, state+".damaged-5"); got != good {
		t.Error("the state of other ramps is not kept aside")
	}
	// What cannot be read is not written over.
	if err := os.Remove(state); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	p = exitParts(t, path, "", quiet())
	if err := p.gates[0].Open(twoRamps); err != nil {
		t.Fatal(err)
	}
	pass(p.gates[0], 10)
	if err := p.saveExits(); !errors.Is(err, errNotKept) {
		t.Error(err)
	}
	// A recording of other ramps is refused.
	p = exitParts(t, "", recorded.String(), quiet())
	if err := p.gates[0].Open(gate.Exits{Ramps: 3}); err == nil || !strings.Contains(err.Error(), "exits.csv: ") {
		t.Errorf("opened over a recording of 2 ramps: %v", err)
	}
}

// TestNoGate: without early exit there is none, and the worker runs as before.
func TestNoGate(t *testing.T) {
	cfg, err := config.Parse("test", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{}
	p.addGate(cfg, &cfg.Models[0], quiet())
	if len(p.gates) != 1 || p.gates[0] != nil || len(p.exits) != 0 || reportOf(p.gates[0]) != nil {
		t.Errorf("%+v", p)
	}
}
