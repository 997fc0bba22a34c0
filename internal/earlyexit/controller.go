package earlyexit

// Row is one item on its way past the ramps.
type Row struct {
	Seq     uint64   // its place in the stream, for controllers that know the stream beforehand
	Signals []Signal // by ramp, Unseen where not evaluated; those after the ramp in question say nothing yet
	Mode    Mode     // the most its request allows; what the controller's own mode is holds as well
	Most    float64  // the largest probability of disagreement that its request takes; 0 = as the controller
	Idle    bool     // no other work waits for the worker, so an audit costs nothing
	Chance  float64  // uniform in [0, 1): draws whether it is audited
}

// Verdict is what becomes of a row at a ramp.
type Verdict struct {
	Exit  bool    // it is answered by the ramp
	Stop  bool    // and not run any further
	Audit float64 // the probability with which a row like it that exits runs on: 1 in mode latency
}

// Outcome is how a row ended. Every row that Decide was asked about is learned
// of once, in any order.
type Outcome struct {
	Seq     uint64
	Signals []Signal // by ramp; Unseen where not evaluated
	Exit    int      // the ramp that answered; −1: the full model did
	Audit   float64  // of the verdict that let it exit; 1 where none did
	Ran     bool     // it ran to the end, so Agree and Class mean something
	Lost    bool     // it was to run to the end and did not: its worker failed, its client left; where Exit is −1 as well it got no answer, and nothing else is known of it
	Agree   uint32   // by ramp, as bits: its answer is the full model's
	Class   int32    // the full model's answer; −1: unknown
}

// Disagrees reports whether the answer that was given is not the full
// model's. It means something only where the row ran to the end.
func (o *Outcome) Disagrees() bool { return o.Exit >= 0 && o.Agree>>o.Exit&1 == 0 }

// Controller lets rows exit. Implementations are deterministic.
type Controller interface {
	// Active is the set of ramps, as bits, that a batch of n rows is to evaluate.
	// chance is uniform in [0, 1) and draws whether the batch explores.
	Active(n int, chance float64) uint32
	// Decide says what becomes of a row at a ramp that was evaluated. It is asked
	// at each of them in order, until the row exits.
	Decide(row *Row, ramp int) Verdict
	// Learn takes in how a row ended.
	Learn(o *Outcome)
	// Report says where the controller stands.
	Report() Report
}

// Cost is what running a batch costs, in any unit of time.
type Cost struct {
	Batch int       // rows
	Whole float64   // to the end, without any ramp
	Until []float64 // by ramp: to the end of the stage that it stands at, without any ramp; rising
	Ramp  []float64 // by ramp: what evaluating it adds
}

// Report is where a controller stands. Shares are fractions of 1; counts are
// rows.
type Report struct {
	Mode   Mode
	Target float64 // the share of answers that are to agree
	Tau    float64 // rows exit where the calibrated risk is at most this, before any correction; NaN: no such thing
	Safe   bool    // fallback: no exits until enough audits are in
	Alarms uint64  // how often a change was noticed

	Seen, Exited, Audited, Lost uint64
	// Disagreed estimates how many exits disagreed: audits that did, each by one
	// over its probability.
	Disagreed float64
	// Loss is Disagreed as a sum that the controller promises to keep under Bound
	// (reference: rolling risk control; see docs/earlyexit.md).
	Bound float64

	Agreement float64 // 1 − Disagreed/Seen; 1 before anything was seen
	Low95     float64 // Clopper-Pearson's lower bound of it, one-sided, 95 %
	Certified float64 // the smallest share of disagreement that is proven at 95 %, at any time; 1: none

	Ramps   []RampReport
	Classes []ClassReport // by the full model's class; empty where classes are unknown
}

// RampReport is one ramp's part of a report.
type RampReport struct {
	Active                bool // in the set for single rows
	Seen, Exited, Audited uint64
	Disagreed             float64 // of those that exited there, weighted like the whole
}

// ClassReport is one class's part of a report.
type ClassReport struct {
	Seen, Exited uint64  // of the rows that ran to the end
	Disagreed    float64 // weighted
}
