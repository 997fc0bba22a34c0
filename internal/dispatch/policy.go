package dispatch

import "fmt"

// Policy decides what starts now. It is called after every event while
// requests wait, and calls Turn.Start for each batch that is to start; what it
// leaves alone stays queued until the next event or timer.
type Policy interface {
	Name() string
	Order() Order
	Dispatch(t *Turn)
}

// Order is how a policy wants its queues sorted, within one priority.
type Order uint8

// The orders.
const (
	ByDeadline Order = iota // earliest deadline first
	ByArrival               // first come, first served
)

// Policies lists the names that NewPolicy takes, the default first.
func Policies() []string { return []string{"least-load", "fcfs", "p2c"} }

// NewPolicy returns the policy of that name, in its initial state. seed feeds
// the ones that draw lots.
func NewPolicy(name string, seed uint64) (Policy, error) {
	switch name {
	case "least-load", "":
		return &leastLoad{}, nil
	case "fcfs":
		return fcfs{}, nil
	case "p2c":
		return newP2C(seed), nil
	}
	return nil, fmt.Errorf("unknown policy %q: want one of %v", name, Policies())
}
