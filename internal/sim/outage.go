package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
)

// Outage is a worker that is gone for a while.
type Outage struct {
	Worker pool.WorkerID
	From   mono.Time
	To     mono.Time // when it is back; mono.Never = it stays away
	// Notice is how long the router takes to hear of either. What runs at From
	// fails there and then; what is sent to the worker while it is away fails
	// after Refusal.
	Notice  time.Duration
	Refusal time.Duration // default 1 ms
}

// outages fails the executions that meet one.
func outages(next Serve, list []Outage) Serve {
	return func(e Execution) Outcome {
		o := next(e)
		for i := range list {
			x := &list[i]
			if x.Worker != e.Worker || e.At >= x.To {
				continue
			}
			switch {
			case e.At >= x.From:
				o = Outcome{Took: x.refusal(), Fault: dispatch.Unserved}
			case e.At.Add(o.Took) > x.From:
				o = Outcome{Took: x.From.Sub(e.At), Fault: dispatch.Lost}
			}
		}
		return o
	}
}

// Outages has executions meet outages; the core hears of them by Changes.
func Outages(list []Outage) Disturbance {
	return func(next Serve, _ Setting) (Serve, error) { return outages(next, list), nil }
}

func (x *Outage) refusal() time.Duration {
	if x.Refusal > 0 {
		return x.Refusal
	}
	return time.Millisecond
}

// Changes are the events by which the core hears of outages, of so many workers.
func Changes(list []Outage, workers int) ([]dispatch.Event, error) {
	var events []dispatch.Event
	for i, x := range list {
		if x.Worker < 0 || int(x.Worker) >= workers {
			return nil, fmt.Errorf("outage %d: there is no worker %d", i, x.Worker)
		}
		if x.From < 0 || x.To <= x.From || x.Notice < 0 || x.Refusal < 0 {
			return nil, fmt.Errorf("outage %d: from %v to %v with notice %v and refusal %v: must be in order and not negative",
				i, x.From, x.To, x.Notice, x.Refusal)
		}
		event := func(at mono.Time, s pool.State) {
			if at != mono.Never {
				events = append(events, dispatch.Event{At: at.Add(x.Notice), Kind: dispatch.WorkerState, Worker: x.Worker, State: s})
			}
		}
		event(x.From, pool.Down)
		event(x.To, pool.Up)
	}
	slices.SortStableFunc(events, func(a, b dispatch.Event) int { return cmp.Compare(a.At, b.At) })
	return events, nil
}

// RandomOutages draws outages for workers 0 … workers−1 up to an instant:
// times between the end of one and the start of the next, and durations, are
// exponential with means between and lasting.
func RandomOutages(rng *rand.Rand, workers int, until mono.Time, between, lasting, notice time.Duration) []Outage {
	var list []Outage
	for w := range workers {
		var now mono.Time
		for {
			now = now.Add(1 + time.Duration(rng.ExpFloat64()*float64(between)))
			if now >= until {
				break
			}
			x := Outage{Worker: pool.WorkerID(w), From: now, Notice: notice}
			now = now.Add(1 + time.Duration(rng.ExpFloat64()*float64(lasting)))
			x.To = now
			list = append(list, x)
		}
	}
	return list
}

// SlowStart makes a worker that comes back from one of the outages slower:
// factor times at first, falling to 1 in a straight line over that time.
func SlowStart(list []Outage, factor float64, over time.Duration) Disturbance {
	return func(next Serve, _ Setting) (Serve, error) {
		if !(factor >= 1 && factor <= 1e6) || over <= 0 { // the negation catches NaN
			return nil, fmt.Errorf("cannot start workers slowly: by %v over %v: must be from 1 to 1e6, over a positive time", factor, over)
		}
		return stretch(next, func(e Execution) float64 {
			f := 1.0
			for i := range list {
				x := &list[i]
				if since := e.At.Sub(x.To); x.Worker == e.Worker && since >= 0 && since < over {
					f = max(f, factor-(factor-1)*float64(since)/float64(over))
				}
			}
			return f
		}), nil
	}
}
