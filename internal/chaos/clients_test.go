package chaos

import (
	"testing"
	"time"
)

// TestClients: clients that leave, that are in a hurry and that send more than a
// worker takes at once, half of them in binary.
func TestClients(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name string
		mix  Mix
		rate float64
		lost float64
	}{
		{"leavers", Mix{Binary: 0.5, Named: 0.5, Leavers: 0.6}, 300, 0},
		{"impatient", Mix{Binary: 0.5, Named: 0.5, Impatient: 0.7}, 300, 0},
		{"large", Mix{Binary: 0.5, Named: 0.5, Large: 0.3, Leavers: 0.05}, 25, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			Scene{Traffic: Traffic{Rate: c.rate, Mix: c.mix}, Lost: c.lost}.play(t, func(*World, *Run) { Wait(span(3 * time.Second)) })
		})
	}
}
