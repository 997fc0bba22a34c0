package chaos

import (
	"fmt"
	"testing"
	"time"
)

// poison is an element that no request has by chance.
const poison = 666

// TestPoison: some requests fell every worker that they reach, in one way or
// another. They are answered with an error after a few attempts, and those that
// were merged with them get their answers.
func TestPoison(t *testing.T) {
	asked(t)
	for _, c := range []struct {
		does  string
		every int     // the n-th request is poisoned
		lost  float64 // of all: what is merged with one that hangs is late, and the poisoned count
		short bool
	}{
		{"500", 40, 0.015, true}, {"reset", 40, 0.015, false}, {"hang", 100, 0.1, false}, {"die,for=300ms", 150, 0.05, false},
	} {
		t.Run(c.does, func(t *testing.T) {
			if !c.short {
				long(t)
			}
			scene := Scene{Lost: c.lost, Traffic: Traffic{Change: func(n int, a *Ask) {
				if n > 250 && n%c.every == 0 && n < 750 {
					a.Poison, a.Leave, a.Deadline = poison, 0, 0
				}
			}}}
			records := scene.play(t, func(w *World, _ *Run) {
				for _, one := range w.Workers {
					must(t, one.Faults(fmt.Sprintf("kind=poison,value=%d,does=%s", poison, c.does)))
				}
				Wait(3500 * time.Millisecond)
			})
			bad := count(records, func(r *Record) bool { return r.Poison != 0 })
			if bad.Total() == 0 || bad[Failed]+bad[Rejected] != bad.Total() {
				t.Errorf("of the poisoned: %v; want each of them to get an error", bad)
			}
			t.Logf("of the poisoned: %v", bad)
		})
	}
}
