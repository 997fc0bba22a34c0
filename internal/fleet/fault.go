package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	At       float64       // cut, stall: after this share of the answer's bytes, 0 to 1; negative: by lot
	Value    int64         // poison: the element that is not borne
	Does     string        // poison: one of Poisons
	For      time.Duration // poison that kills: how long the server is away
}

// Kinds are the kinds of faults.
var Kinds = []string{
	"delay", "hang", "400", "500", "503", "reset", "garbage", "error200", "rows", "shape", "type", "drip", "cut", "stall", "close", "poison", "down",
}

// Poisons are what an element that a server does not bear makes it do: answer
// with 500, with a reset, not at all, or die.
var Poisons = []string{"500", "reset", "hang", "die"}

// forever is later than any run ends.
const forever = time.Duration(1<<63 - 1)

// ParseFault reads "WORKER,kind=KIND[,share=S][,from=D][,to=D]" and what the
// kind has besides: factor of delay, every of drip, period of down, after of
// close, at of cut and stall, value, does and for of poison.
func ParseFault(text string) (Fault, error) {
	fields := strings.Split(text, ",")
	f := Fault{Worker: strings.TrimSpace(fields[0]), Share: 1, To: forever, Factor: 3, Every: 10 * time.Millisecond, After: 1, At: -1, Does: "500", For: 500 * time.Millisecond}
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
	for _, own := range []struct{ key, kinds string }{
		{"factor", "delay"}, {"every", "drip"}, {"period", "down"}, {"after", "close"}, {"at", "cut, stall"},
		{"value", "poison"}, {"does", "poison"}, {"for", "poison"},
	} {
		if seen[own.key] && !slices.Contains(strings.Split(own.kinds, ", "), f.Kind) {
			return f, fmt.Errorf("%q: %s is for kind %s", text, own.key, own.kinds)
		}
	}
	if f.Kind == "poison" && (!seen["value"] || seen["share"]) {
		return f, fmt.Errorf("%q: poison wants a value, and no share", text)
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
	case "at":
		f.At, err = number(value, 0, 1)
	case "value":
		if f.Value, err = strconv.ParseInt(value, 10, 64); err != nil {
			return fmt.Errorf("value: %q: must be a whole number", value)
		}
	case "does":
		if f.Does = value; !slices.Contains(Poisons, value) {
			return fmt.Errorf("does %q: there are %s", value, strings.Join(Poisons, ", "))
		}
	case "for":
		f.For, err = duration(value, time.Millisecond)
	case "from":
		f.From, err = duration(value, 0)
	case "to":
		f.To, err = duration(value, 0)
	case "every":
		f.Every, err = duration(value, time.Microsecond)
	case "period":
		f.Period, err = duration(value, time.Millisecond)
	default:
		return fmt.Errorf("there is no %q; there are kind, share, from, to, factor, every, period, after, at, value, does, for", key)
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
