package dispatch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policy decides what starts now. It is called after every event while
// requests wait, and calls Turn.Start for each batch that is to start; what it
// leaves alone stays queued until the next event or timer.
type Policy interface {
	Name() string
	Traits() Traits
	Dispatch(t *Turn)
}

// Traits say what a policy leaves to the core and what it promises.
type Traits struct {
	Order Order
	// Late: requests are served however late they are, and none is turned away
	// for want of time, as the published baselines do.
	Late bool
	// Plans: the policy itself turns away what it cannot place in time; the
	// core's own estimate at arrival is not asked.
	Plans bool
	// Waits: a free worker may stand beside a waiting request that it could
	// answer in time (invariant 5 is not promised).
	Waits bool
	// Splits: the policy cuts requests into parts where that pays.
	Splits bool
}

// Order is how a policy wants its queues sorted, within one priority.
type Order uint8

// The orders.
const (
	ByDeadline Order = iota // earliest deadline first
	ByArrival               // first come, first served
)

// Policies lists the names that NewPolicy takes, the default first.
func Policies() []string {
	return []string{"priced", "least-load", "fcfs", "p2c", "size-threshold", "clockwork", "kairos", "least-conn", "random-two"}
}

// tunable are the policies that may be named with a number, as in size-threshold=50.
var tunable = []string{"size-threshold", "least-conn", "random-two"}

// NewPolicy returns the policy of that name, in its initial state. seed feeds
// the ones that draw lots.
func NewPolicy(name string, seed uint64) (Policy, error) {
	switch name {
	case "least-load":
		return &leastLoad{}, nil
	case "fcfs":
		return fcfs{}, nil
	case "p2c":
		return newP2C(seed), nil
	case "priced", "":
		return NewPriced(PricedOptions{}), nil
	case "kairos":
		return &kairos{}, nil
	case "clockwork":
		return &clockwork{}, nil
	case "size-threshold":
		return &sizeThreshold{}, nil
	case "least-conn":
		return newLeastConn(1, nil), nil
	case "random-two":
		return newLeastConn(1, newLots(seed)), nil
	}
	kind, text, parted := strings.Cut(name, "=")
	if parted && slices.Contains(tunable, kind) {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil || n < 1:
			return nil, fmt.Errorf("unknown policy %q: want a positive number behind the =", name)
		case kind == "size-threshold":
			return &sizeThreshold{items: n}, nil
		case kind == "least-conn":
			return newLeastConn(n, nil), nil
		default:
			return newLeastConn(n, newLots(seed)), nil
		}
	}
	return nil, fmt.Errorf("unknown policy %q: want one of %v", name, Policies())
}
