package chaos

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTakeClock: a process sees its own clock stepped, and this one does not.
func TestTakeClock(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read go; exec date +%Y")
	in, err := cmd.StdinPipe()
	must(t, err)
	var out strings.Builder
	cmd.Stdout = &out
	must(t, cmd.Start())
	c, err := TakeClock(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Skipf("NOT RUN: %v", err)
	}
	must(t, c.Step(100*24*time.Hour))
	fmt.Fprintln(in, "go")
	must(t, cmd.Wait())
	// What is executed anew has a clock of its own again: only the process is
	// stepped, and nothing stays.
	if got, want := strings.TrimSpace(out.String()), fmt.Sprint(time.Now().Year()); got != want {
		t.Errorf("a program that was executed later has the year %s, want %s", got, want)
	}
}

// TestClockStepped: the router's wall clock is stepped to and fro, by an hour, by
// days, by years. No deadline, no timer and no estimate goes by it.
func TestClockStepped(t *testing.T) {
	long(t)
	file := filepath.Join(t.TempDir(), "learned")
	future := time.Now().AddDate(13, 0, 0)
	Scene{Options: Options{Config: learned(file)}}.play(t, func(w *World, _ *Run) {
		c, err := TakeClock(w.Router.PID())
		if err != nil {
			t.Skipf("NOT RUN: %v", err)
		}
		for _, by := range []time.Duration{time.Hour, -time.Hour, 48 * time.Hour, -20 * 365 * 24 * time.Hour, 0, time.Until(future)} {
			must(t, c.Step(by))
			Wait(span(500 * time.Millisecond))
		}
		// Its log tells that it does see the other time.
		w.Workers[3].Kill()
		Wait(500 * time.Millisecond)
		if log := w.Log("router"); !strings.Contains(log, fmt.Sprintf("time=%d-", future.Year())) {
			t.Errorf("the router does not log the year %d: %s", future.Year(), log)
		}
		must(t, w.Workers[3].Start())
		must(t, c.Step(-time.Hour))
		Wait(span(500 * time.Millisecond))
		must(t, c.Step(0))
		sound(t, w, file)
	})
}
