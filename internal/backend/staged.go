package backend

import (
	"context"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// Staged is a Backend some of whose models have intermediate exits.
type Staged interface {
	Backend
	// Exits describes a model's ramps; nil where it has none, or none are known
	// yet. The value is shared: do not change it.
	Exits(model string) *Exits
	// RunStaged executes calls as Run does and shows w every exit on the way. It
	// returns when nothing of the batch runs any more. An error that it returns is
	// of the calls that were not answered before.
	RunStaged(ctx context.Context, model string, calls []*Call, w Watcher) error
}

// Exits describes a model's ramps on a worker.
type Exits struct {
	Ramps   int // the ramps; exit number Ramps is the model's own
	Classes int // probabilities that each exit gives a row
	// Costs is what runs cost, by rising batch size; empty where it is unknown.
	Costs []earlyexit.Cost
	// Depth is by ramp the share of a whole run that has passed when its stage
	// has ended, 0 … 1, rising.
	Depth []float64
}

// Watcher is shown a batch as it passes its exits. One goroutine at a time
// calls it.
type Watcher interface {
	// Begin is told how many rows each call has; a call with 0 has an Err already.
	// Rows are counted through over all calls. It returns the ramps, as bits, that
	// the batch is to evaluate.
	Begin(rows []int) uint32
	// At is told what an exit says, the model's own included, and fills in what
	// becomes of the rows.
	At(s *Sight)
	// Answered is told that call i has its Response (or Err), made of the exits
	// that its rows left by, while the batch goes on. From then on the backend
	// touches neither the call nor its request.
	Answered(i int)
	// Show hands over the whole answer of a ramp to call i, which has Ramps set.
	// The message is the watcher's.
	Show(i, ramp int, m oip.Message)
}

// Sight is one exit's view of a batch. The slices belong to the backend and
// hold until At returns.
type Sight struct {
	Exit int // the ramp; Exits.Ramps for the model's own
	// Rows are those that still run, by position in the batch, ascending; rows that
	// have left by an earlier exit and run on are among them.
	Rows    []int
	Signals []earlyexit.Signal // by Rows
	// Together says that the rows of one call can only leave by the same exit:
	// then Leave and Stop must be equal for all of them.
	Together bool
	Leave    []bool // by Rows, false at first: the watcher sets it where the row is answered by this exit
	Stop     []bool // by Rows, false at first: the row, which left here or before, does not run on
}
