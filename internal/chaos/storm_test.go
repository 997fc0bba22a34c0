package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// injury is one thing that a storm does to a worker.
type injury struct {
	at, for_ time.Duration
	worker   int
	what     string // "kill", "stop", "sever", a fault's text after kind=, or a proxy's plan
	plan     *Plan
}

// draw makes a storm: for so long, at each worker one thing after another.
func draw(rng *rand.Rand, workers int, length time.Duration) (all []injury) {
	faults := []string{
		"500,share=0.5", "503,share=0.5", "hang,share=0.3", "reset,share=0.5", "cut,share=0.5", "stall,share=0.2", "drip,share=0.3,every=2ms",
		"garbage,share=0.5", "error200,share=0.5", "close,share=0.5", "delay,factor=4,share=0.5",
	}
	plans := []Plan{
		{Delay: 2 * time.Millisecond, Jitter: 20 * time.Millisecond}, {Stall: 0.05}, {Cut: 0.05}, {End: 0.05}, {Refuse: true}, {Chunk: 13},
	}
	for worker := range workers {
		for at := time.Duration(0); ; {
			at += time.Duration(100+rng.IntN(600)) * time.Millisecond
			one := injury{at: at, for_: time.Duration(50+rng.IntN(900)) * time.Millisecond, worker: worker}
			switch n := rng.IntN(10); {
			case n < 2:
				one.what = "kill"
			case n < 3:
				one.what = "stop"
			case n < 4:
				one.what = "sever"
			case n < 7:
				one.what, one.plan = "network", &plans[rng.IntN(len(plans))]
			default:
				one.what = faults[rng.IntN(len(faults))]
			}
			if at += one.for_; at > length {
				break
			}
			all = append(all, one)
		}
	}
	return all
}

func (one *injury) String() string {
	if one.plan != nil {
		return fmt.Sprintf("%v %v w%d %+v", one.at, one.for_, one.worker, *one.plan)
	}
	return fmt.Sprintf("%v %v w%d %s", one.at, one.for_, one.worker, one.what)
}

// do does it, and undoes it when its time is over.
func (one *injury) do(v *Worker) error {
	switch {
	case one.what == "kill":
		v.Kill()
		Wait(one.for_)
		return v.Start()
	case one.what == "stop":
		v.Signal(syscall.SIGSTOP)
		Wait(one.for_)
		v.Signal(syscall.SIGCONT)
	case one.what == "sever":
		v.Proxy.Sever()
		Wait(one.for_)
	case one.plan != nil:
		v.Proxy.Set(*one.plan)
		Wait(one.for_)
		v.Proxy.Set(Plan{})
		v.Proxy.Sever()
	default:
		if err := v.Faults("kind=" + one.what); err != nil {
			return fmt.Errorf("w%d: %w", one.worker, err)
		}
		Wait(one.for_)
		return v.Faults()
	}
	return nil
}

// TestStorm: everything at once, at every worker, by lot; clients of every kind.
// Most requests may be lost meanwhile, but each has its outcome, no answer is
// wrong, and afterwards all is as before.
func TestStorm(t *testing.T) {
	asked(t)
	length := span(16 * time.Second)
	if text := os.Getenv("MOTLEY_CHAOS_STORM"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		must(t, err)
	}
	mix := Mix{Binary: 0.5, Named: 0.5, Leavers: 0.08, Impatient: 0.08, Large: 0.01}
	Scene{Options: Options{Proxied: true}, Traffic: Traffic{Mix: mix}, Lost: 1}.play(t, func(w *World, r *Run) {
		all := draw(dice(t), len(w.Workers), length)
		var text strings.Builder
		for i := range all {
			fmt.Fprintf(&text, "\n%v", &all[i])
		}
		t.Logf("%d injuries: instant, length, worker, kind:%s", len(all), text.String())
		begin := time.Now()
		errs := make(chan error, len(w.Workers))
		for i, v := range w.Workers {
			go func() {
				for k := range all {
					if one := &all[k]; one.worker == i {
						Wait(one.at - time.Since(begin))
						if err := one.do(v); err != nil {
							errs <- err
							return
						}
						if one.what == "kill" {
							Wait(100 * time.Millisecond) // until it listens
						}
					}
				}
				errs <- nil
			}()
		}
		for range w.Workers {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
