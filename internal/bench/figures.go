package bench

import (
	"slices"

	"gonum.org/v1/gonum/mathext"

	"motley/internal/earlyexit/baseline"
	"motley/internal/exitstream"
	"motley/internal/planner"
)

// Exited is what a controller made of a stream. Shares are fractions of 1;
// latency and compute are relative to a run without ramps.
type Exited struct {
	Stream     string `json:"stream"`
	Controller string `json:"controller"`
	// Change is what was changed about the controller; empty: nothing.
	Change string  `json:"change,omitempty"`
	Mode   string  `json:"mode"`
	Target float64 `json:"target"`
	Rows   int     `json:"rows"`
	Batch  int     `json:"batch"`
	Seed   uint64  `json:"seed"` // of the chance that draws audits
	// Agreement is the share of answers that are the full model's; Low95 and High95
	// are Clopper and Pearson's bounds, one-sided, 95 % each.
	Agreement float64 `json:"agreement"`
	Low95     float64 `json:"agreement_low95"`
	High95    float64 `json:"agreement_high95"`
	// Window is how many rows a window has: each that begins at a row. WorstWindow
	// is the lowest agreement of any, WindowsBelow the share of them under the
	// target.
	Window       int     `json:"window"`
	WorstWindow  float64 `json:"worst_window"`
	WindowsBelow float64 `json:"windows_below"`
	Exits        float64 `json:"exits"` // share of the rows that a ramp answered
	SavedMean    float64 `json:"latency_saved_mean"`
	SavedMedian  float64 `json:"latency_saved_median"`
	// SavedP95 is what is saved of the 95th percentile of the latency; negative
	// where ramps cost more there.
	SavedP95     float64 `json:"latency_saved_p95"`
	ComputeSaved float64 `json:"compute_saved"`
	// P95Overhead is by how much the 95th percentile of the latency is over that
	// without ramps; 0 where it is under. WorstOverhead is the same of the slowest
	// row.
	P95Overhead   float64 `json:"p95_overhead"`
	WorstOverhead float64 `json:"worst_overhead"`
	// AuditShare is the share of all rows that exited and ran to the end all the
	// same, AuditOfExits that of those that exited.
	AuditShare   float64 `json:"audit_share"`
	AuditOfExits float64 `json:"audit_of_exits"`
	// Disagreed counts the answers that were not the full model's; Bound is what the
	// controller promised at the end to keep its count of them under, Certified the
	// share of disagreement that it had proven. Null where it does no such thing.
	Disagreed int      `json:"disagreed"`
	Bound     *float64 `json:"bound"`
	Certified *float64 `json:"certified"`
	Alarms    uint64   `json:"alarms"` // changes that the controller noticed
	// Recover is the largest Recover of all segments but the first; 0 where there
	// is one segment alone.
	Recover  int             `json:"recover_requests"`
	Segments []SegmentExited `json:"segments"`
}

// SegmentExited is the same of a segment.
type SegmentExited struct {
	Segment      string  `json:"segment"`
	Rows         int     `json:"rows"`
	Agreement    float64 `json:"agreement"`
	SavedMean    float64 `json:"latency_saved_mean"`
	ComputeSaved float64 `json:"compute_saved"`
	// Recover is how many rows of it pass until a window begins in which the target
	// is met (the window is no longer than the segment); all of them where none
	// does.
	Recover int `json:"recover_requests"`
}

// figures sums up a replay.
func figures(s *exitstream.Stream, fates []fate, target float64, window int) Exited {
	n := len(fates)
	e := Exited{Stream: s.Name, Target: target, Rows: n, Window: min(window, n)}
	errors := make([]int, n+1) // up to the row
	latency := make([]float64, n)
	exits, audits := 0, 0
	for i, f := range fates {
		errors[i+1] = errors[i]
		if f.disagree {
			errors[i+1]++
		}
		latency[i] = f.latency
		if f.exit >= 0 {
			exits++
			if f.ran {
				audits++
			}
		}
		e.SavedMean += 1 - f.latency
		e.ComputeSaved += 1 - f.compute
	}
	wrong := errors[n]
	e.Disagreed = wrong
	e.Agreement = 1 - float64(wrong)/float64(n)
	e.Low95, e.High95 = clopperPearson(n-wrong, n)
	worst, below := 0, 0
	for i := 0; i+e.Window <= n; i++ {
		k := errors[i+e.Window] - errors[i]
		worst = max(worst, k)
		if k > baseline.Allowance(e.Window, target) {
			below++
		}
	}
	e.WorstWindow = 1 - float64(worst)/float64(e.Window)
	e.WindowsBelow = float64(below) / float64(n-e.Window+1)
	e.Exits = float64(exits) / float64(n)
	e.SavedMean /= float64(n)
	e.ComputeSaved /= float64(n)
	slices.Sort(latency)
	p95 := latency[(95*n+99)/100-1]
	e.SavedMedian, e.SavedP95 = 1-latency[(n+1)/2-1], 1-p95
	e.P95Overhead, e.WorstOverhead = max(0, p95-1), max(0, latency[n-1]-1)
	if exits > 0 {
		e.AuditOfExits = float64(audits) / float64(exits)
	}
	e.AuditShare = float64(audits) / float64(n)
	for k, g := range s.Segments {
		seg := segmentFigures(fates[g.From:s.End(k)], errors[g.From:s.End(k)+1], target, window)
		seg.Segment = g.Name
		if k > 0 {
			e.Recover = max(e.Recover, seg.Recover)
		}
		e.Segments = append(e.Segments, seg)
	}
	e.round()
	return e
}

func segmentFigures(fates []fate, errors []int, target float64, window int) SegmentExited {
	n := len(fates)
	g := SegmentExited{Rows: n, Recover: n, Agreement: 1 - float64(errors[n]-errors[0])/float64(n)}
	for _, f := range fates {
		g.SavedMean += (1 - f.latency) / float64(n)
		g.ComputeSaved += (1 - f.compute) / float64(n)
	}
	w := min(window, n)
	for i := 0; i+w <= n; i++ {
		if errors[i+w]-errors[i] <= baseline.Allowance(w, target) {
			g.Recover = i
			break
		}
	}
	return g
}

// clopperPearson gives the one-sided 95 % bounds of a share of which k of n were
// seen.
func clopperPearson(k, n int) (low, high float64) {
	low, high = 0, 1
	if k > 0 {
		low = mathext.InvRegIncBeta(float64(k), float64(n-k)+1, 0.05)
	}
	if k < n {
		high = mathext.InvRegIncBeta(float64(k)+1, float64(n-k), 0.95)
	}
	return low, high
}

// round drops the digits that floating point made up.
func (e *Exited) round() {
	for _, v := range e.numbers() {
		*v = planner.Round(*v, 6) + 0 // no −0
	}
}

// numbers are all shares in it, in a fixed order.
func (e *Exited) numbers() []*float64 {
	all := []*float64{
		&e.Agreement, &e.Low95, &e.High95, &e.WorstWindow, &e.WindowsBelow, &e.Exits, &e.SavedMean, &e.SavedMedian, &e.SavedP95,
		&e.ComputeSaved, &e.P95Overhead, &e.WorstOverhead, &e.AuditShare, &e.AuditOfExits,
	}
	for i := range e.Segments {
		g := &e.Segments[i]
		all = append(all, &g.Agreement, &g.SavedMean, &g.ComputeSaved)
	}
	return all
}
