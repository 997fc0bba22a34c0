package chaos

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestNetwork: what lies between the router and its workers delays, drops and
// breaks.
func TestNetwork(t *testing.T) {
	asked(t)
	for _, c := range []struct {
		name  string
		plan  Plan
		one   bool // of the workers; else all
		lost  float64
		short bool
	}{
		{"delays", Plan{Delay: 2 * time.Millisecond, Jitter: 15 * time.Millisecond}, false, 0.05, false},
		{"pieces", Plan{Chunk: 11}, false, 0, false},
		{"drops", Plan{Stall: 0.03}, true, 0.1, false},
		{"drops of all", Plan{Stall: 0.01}, false, 0.15, false},
		{"cuts", Plan{Cut: 0.03, End: 0.03}, true, 0, true},
		{"cuts of all", Plan{Cut: 0.02, End: 0.02}, false, 0.02, false},
		{"black hole", Plan{Stall: 1}, true, 0.1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.short {
				long(t)
			}
			Scene{Options: Options{Proxied: true}, Lost: c.lost}.play(t, func(w *World, _ *Run) {
				victims, injured := w.Workers[:1], 0
				if !c.one {
					victims = w.Workers
				}
				for _, v := range victims {
					v.Proxy.Set(c.plan)
				}
				Wait(span(2 * time.Second))
				for _, v := range victims {
					v.Proxy.Set(Plan{})
					injured += v.Proxy.Injured()
				}
				if c.plan.Stall+c.plan.Cut+c.plan.End > 0 && injured == 0 {
					t.Error("nothing was injured")
				}
				// A connection whose bytes are lost stays so: as when a network comes
				// back, they end.
				for _, v := range victims {
					v.Proxy.Sever()
				}
			})
		})
	}
}

// TestVanishes: workers are gone between the moment when one is chosen and that
// when the request reaches it: all their connections are reset and new ones
// refused, for a moment, at any moment.
func TestVanishes(t *testing.T) {
	long(t)
	Scene{Options: Options{Proxied: true}, Lost: 0.02, Failing: -1}.play(t, func(w *World, _ *Run) {
		rng := dice(t)
		for range 12 {
			v := w.Workers[rng.IntN(len(w.Workers))]
			v.Proxy.Set(Plan{Refuse: true})
			v.Proxy.Sever()
			Wait(time.Duration(10+rng.IntN(60)) * time.Millisecond)
			v.Proxy.Set(Plan{})
			Wait(time.Duration(100+rng.IntN(200)) * time.Millisecond)
		}
	})
}

// lossy sets up loopback in a network namespace of its own such that packets
// are late, out of order and lost, and runs what follows.
const lossy = `ip link set lo up && tc qdisc add dev lo root netem delay 1ms 1ms loss 0.5% reorder 5%`

// TestLossyNetwork: the kernel itself loses packets, in a network namespace
// where all processes of the scenario are.
func TestLossyNetwork(t *testing.T) {
	long(t)
	if os.Getenv("MOTLEY_CHAOS_LOSSY") != "" {
		Scene{Lost: 0.05}.play(t, func(*World, *Run) { Wait(span(3 * time.Second)) })
		return
	}
	if out, err := exec.Command("unshare", "--net", "sh", "-c", lossy).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: cannot lose packets here: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "--net", "sh", "-c", lossy+` && exec "$0" "$@"`, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "MOTLEY_CHAOS_LOSSY=1", "ROUTER="+binaries.Router, "BENCH="+binaries.Bench)
	out, err := cmd.CombinedOutput()
	t.Log(strings.TrimSpace(string(out)))
	if err != nil {
		t.Error(err)
	}
}
