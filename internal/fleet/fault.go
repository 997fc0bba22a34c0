package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what goes wrong at a server, for a share of the requests and within
// a span of time.
type Fault struct {
	Worker   string  // a worker's name, an instance type, or "all"
	Kind     string  // one of Kinds
	Share    float64 // of the requests; of each period where Kind is down; 0 to 1
	From, To time.Duration
	Factor   float64       // delay: on the execution's time
	Every    time.Duration // drip: between bytes
	Period   time.Duration // down: from one fall to the next; 0: down from From to To
	After    int           // close: requests of a connection
}

// Kinds are the kinds of faults.
var Kinds = []string{"delay", "hang", "500", "503", "reset", "garbage", "rows", "drip", "close", "down"}

// forever is later than any run ends.
const forever = time.Duration(1<<63 - 1)

// ParseFault reads "WORKER,kind=KIND[,share=S][,from=D][,to=D]" and what the
// kind has besides: factor of delay, every of drip, period of down, after of
// close.
func ParseFault(text string) (Fault, error) {
	fields := strings.Split(text, ",")
	f := Fault{Worker: strings.TrimSpace(fields[0]), Share: 1, To: forever, Factor: 3, Every: 10 * time.Millisecond, After: 1}
	seen := map[string]bool{}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if seen[key] {
			return f, fmt.Errorf("%q: %s is given twice", text, key)
		}
		seen[key] = true
		if err := f.set(key, value); err != nil {
			return f, fmt.Errorf("%q: %w", text, err)
		}
	}
	switch {
	case f.Worker == "":
		return f, fmt.Errorf("%q: want WORKER,kind=…", text)
	case !seen["kind"]:
		return f, fmt.Errorf("%q: kind is missing; there are %s", text, strings.Join(Kinds, ", "))
	case f.To <= f.From:
		return f, fmt.Errorf("%q: to must be after from", text)
	}
	for key, kind := range map[string]string{"factor": "delay", "every": "drip", "period": "down", "after": "close"} {
		if seen[key] && f.Kind != kind {
			return f, fmt.Errorf("%q: %s is for kind %s", text, key, kind)
		}
	}
	return f, nil
}

func (f *Fault) set(key, value string) error {
	var err error
	switch key {
	case "kind":
		if f.Kind = value; !slices.Contains(Kinds, value) {
			return fmt.Errorf("kind %q: there are %s", value, strings.Join(Kinds, ", "))
		}
	case "share":
		f.Share, err = number(value, 0, 1)
	case "factor":
		f.Factor, err = number(value, 0, 1e6)
	case "after":
		if f.After, err = strconv.Atoi(value); err != nil || f.After < 1 {
			return fmt.Errorf("after: %q: must be a whole number from 1", value)
		}
	case "from":
		f.From, err = duration(value, 0)
	case "to":
		f.To, err = duration(value, 0)
	case "every":
		f.Every, err = duration(value, time.Microsecond)
	case "period":
		f.Period, err = duration(value, time.Millisecond)
	default:
		return fmt.Errorf("there is no %q; there are kind, share, from, to, factor, every, period, after", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func number(text string, low, high float64) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) { // the negation catches NaN
		return 0, fmt.Errorf("%q: must be a number from %v to %v", text, low, high)
	}
	return v, nil
}

func duration(text string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	const most = 10_000 * time.Hour
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("%q: must be a duration from %v to %v", text, least, most)
	}
	return d, nil
}

// down tells whether the server is down at an instant, counted from its start,
// and when that changes next.
func (f *Fault) down(at time.Duration) (down bool, until time.Duration) {
	switch {
	case at < f.From:
		return false, f.From
	case at >= f.To:
		return false, forever
	case f.Period == 0:
		return true, f.To
	}
	begin := at - (at-f.From)%f.Period
	if up := begin + time.Duration(f.Share*float64(f.Period)); at < up {
		return true, min(up, f.To)
	}
	return false, min(begin+f.Period, f.To)
}

// faults draws which of a server's faults a request gets.
type faults struct {
	list []Fault // but for those of kind down

	mu struct {
		sync.Mutex
		rng   *rand.Rand
		count map[string]int // by kind
	}
}

func newFaults(list []Fault, seed uint64) *faults {
	f := &faults{list: list}
	f.mu.rng = rand.New(rand.NewPCG(seed, 0x6661756c74))
	f.mu.count = map[string]int{}
	return f
}

// draw draws for a request that came at an instant since the start, as the
// nth of its connection, counted from 1. factor is how much longer it takes;
// fault is what else happens to it, nil for nothing: the first of the list.
func (f *faults) draw(at time.Duration, nth int) (factor float64, fault *Fault) {
	factor = 1
	if len(f.list) == 0 {
		return factor, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		one := &f.list[i]
		hit := f.mu.rng.Float64() < one.Share // drawn in any case, so that faults do not move each other's draws
		switch {
		case !hit || at < one.From || at >= one.To || one.Kind == "close" && nth < one.After:
			continue
		case one.Kind == "delay":
			factor *= one.Factor
		case fault == nil:
			fault = one
		default:
			continue
		}
		f.mu.count[one.Kind]++
	}
	return factor, fault
}

// note counts a fault that was not drawn.
func (f *faults) note(kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.count[kind]++
}

// counts are how often each kind of fault happened, in Kinds' order, as
// "kind=N".
func (f *faults) counts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, kind := range Kinds {
		if n := f.mu.count[kind]; n > 0 {
			all = append(all, fmt.Sprintf("%s=%d", kind, n))
		}
	}
	return all
}
