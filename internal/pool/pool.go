// Package pool says what there is to run on: instance types with their
// prices, workers with their states, and profiles of how long a batch takes.
// It is pure: time is an argument, and nothing here knows how a worker is
// reached.
package pool

import "motley/internal/mono"

// ModelID, TypeID and WorkerID are dense indexes into the pool's tables.
type (
	ModelID  int32
	TypeID   int32
	WorkerID int32
)

// InstanceType is a priced kind of hardware.
type InstanceType struct {
	Name        string  // as the cloud calls it: g4dn.xlarge
	USDPerHour  float64 // on-demand price of one instance; 0 = not priced
	Accelerator string  // "T4", "L4", … ; empty for a CPU instance
}

// State is where a worker stands in its life.
type State uint8

// The states. Only Up takes new work; Draining ends what it runs.
const (
	Starting State = iota
	Up
	Draining
	Down
)

// String names the state as metrics and /debug/state print it.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Up:
		return "up"
	case Draining:
		return "draining"
	}
	return "down"
}

// Serve says that a worker can run a model.
type Serve struct {
	Model ModelID
	// MaxBatch is the most items that one execution takes; 1 = never merge.
	// At least 1.
	MaxBatch int
}

// Worker is one addressable model server.
type Worker struct {
	Name        string
	Type        TypeID
	Concurrency int // batches it runs at once; at least 1
	Serves      []Serve
	State       State
	Breaker     Breaker
}

// Allows reports whether the worker may be given new work at now: it is up
// and its breaker lets a batch through.
func (w *Worker) Allows(now mono.Time) bool {
	return w.State == Up && w.Breaker.Allow(now)
}
