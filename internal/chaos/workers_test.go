package chaos

import (
	"syscall"
	"testing"
	"time"
)

// TestCalm: nothing is injured, and nothing is lost.
func TestCalm(t *testing.T) {
	long(t)
	Scene{}.play(t, func(*World, *Run) { Wait(span(time.Second)) })
}

// TestKilled: one worker at a time is killed in the middle of its batch, and is
// back after a while. What it had is tried again by another, unnoticed.
func TestKilled(t *testing.T) {
	Scene{}.play(t, func(w *World, _ *Run) {
		rng := dice(t)
		for range 3 {
			victim := w.Workers[rng.IntN(len(w.Workers))]
			victim.Kill()
			Wait(span(time.Second))
			must(t, victim.Start())
			Wait(span(time.Second))
		}
	})
}

// TestAllKilled: for a while there is no worker at all.
func TestAllKilled(t *testing.T) {
	Scene{Lost: 1}.play(t, func(w *World, _ *Run) {
		for _, victim := range w.Workers {
			victim.Kill()
		}
		Wait(span(2 * time.Second))
		for _, victim := range w.Workers {
			must(t, victim.Start())
		}
	})
}

// TestStopped: a worker's process is stopped, with its connections open, and
// goes on later.
func TestStopped(t *testing.T) {
	long(t)
	Scene{Lost: 0.1}.play(t, func(w *World, _ *Run) {
		for _, victim := range w.Workers[1:3] {
			victim.Signal(syscall.SIGSTOP)
			Wait(span(1500 * time.Millisecond))
			victim.Signal(syscall.SIGCONT)
			Wait(span(time.Second))
		}
	})
}

// TestFlapping: a worker is there and away again, every few 100 ms.
func TestFlapping(t *testing.T) {
	long(t)
	Scene{}.play(t, func(w *World, _ *Run) {
		rng := dice(t)
		victim := w.Workers[0]
		for range 4 {
			victim.Kill()
			Wait(time.Duration(100+rng.IntN(200)) * time.Millisecond)
			must(t, victim.Start())
			Wait(time.Duration(200+rng.IntN(200)) * time.Millisecond)
		}
	})
}

// TestAnswers: one worker, or all of them, answer a share of what they get in
// ways that no worker may.
func TestAnswers(t *testing.T) {
	asked(t)
	for _, c := range []struct {
		name, fault string
		all         bool
		lost        float64
		short       bool
	}{
		{"500", "kind=500,share=0.3", false, 0, false},
		{"500 always", "kind=500", false, 0, true},
		{"500 of all", "kind=500,share=0.2", true, 0.05, false},
		{"503", "kind=503,share=0.5", false, 0, false},
		{"hang", "kind=hang,share=0.2", false, 0.1, true},
		{"reset", "kind=reset,share=0.3", false, 0, false},
		{"cut", "kind=cut,share=0.3", false, 0, true},
		{"cut in the head", "kind=cut,share=0.3,at=0.05", false, 0, false},
		{"stall", "kind=stall,share=0.1", false, 0.1, false},
		{"drip", "kind=drip,share=0.2,every=5ms", false, 0.15, false},
		{"garbage", "kind=garbage,share=0.3", false, 0, false},
		{"error within 200", "kind=error200,share=0.3", false, 0, false},
		{"rows", "kind=rows,share=0.3", false, 0, true},
		{"shape", "kind=shape,share=0.3", false, 0, false},
		{"type", "kind=type,share=0.3", false, 0, false},
		{"unsaid close", "kind=close,share=0.5", true, 0, false},
		{"slow", "kind=delay,factor=5,share=0.5", false, 0.1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.short {
				long(t)
			}
			Scene{Lost: c.lost}.play(t, func(w *World, _ *Run) {
				victims := w.Workers[:1]
				if c.all {
					victims = w.Workers
				}
				for _, v := range victims {
					must(t, v.Faults(c.fault))
				}
				Wait(span(2 * time.Second))
				for _, v := range victims {
					must(t, v.Faults())
				}
			})
		})
	}
}
