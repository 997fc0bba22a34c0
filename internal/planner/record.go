package planner

import (
	"math"
	"time"
)

// Record is a mix of a plan as commands print it in JSON. They embed it in
// records that begin with the model and what else the planner was not told.
type Record struct {
	Role string `json:"role"` // best, other or current
	Rank int    `json:"rank"` // 1 is the best; of the current one Plan.Rank
	Mix  string `json:"mix"`  // see MixText
	// AllowableQPS is what was measured, in requests/s; null where nothing was.
	AllowableQPS *float64 `json:"allowable_qps"`
	GoodputQPS   float64  `json:"goodput_qps"`  // expected: measured or estimated
	EstimateQPS  float64  `json:"estimate_qps"` // see Candidate
	CostUSDH     float64  `json:"cost_usd_h"`
	Bounds       Bounds   `json:"bounds"`
	// Why is given with the best.
	Why *Why `json:"why,omitempty"`

	// Of is the mix as the plan has it.
	Of *Candidate `json:"-"`
}

// Why is what a plan says of its best mix, see Plan. Rates are of the estimate,
// in requests/s.
type Why struct {
	BudgetUSDH  float64     `json:"budget_usd_h,omitempty"` // 0: none was given
	RequiredQPS float64     `json:"required_qps,omitempty"` // 0: none was given
	Headroom    *float64    `json:"headroom,omitempty"`     // over RequiredQPS, 0.1 = 10 %
	Uses        []UseRecord `json:"uses"`
	Next        *NextRecord `json:"next"`          // null: nothing may be added
	QPSPerUSDH  float64     `json:"qps_per_usd_h"` // of a further USD per hour
	RelaxedQPS  float64     `json:"relaxed_qps"`
	Reached     float64     `json:"reached"`
	Examined    int         `json:"examined"`
	Measured    int         `json:"measured"`
	Exhaustive  bool        `json:"exhaustive"`
}

// UseRecord is what an instance type is for: see Use.
type UseRecord struct {
	InstanceType string       `json:"instance_type"`
	Instances    float64      `json:"instances"`      // spot ones by their availability
	Requests     float64      `json:"requests_share"` // of all
	Work         float64      `json:"work_share"`     // of all busy time
	Utilisation  float64      `json:"utilisation"`
	ValueQPS     float64      `json:"value_qps"` // of another instance
	QPSPerUSDH   float64      `json:"qps_per_usd_h"`
	Serves       []SpanRecord `json:"serves"`
}

// SpanRecord is the sizes of a model that a type serves: see Span.
type SpanRecord struct {
	Model   string  `json:"model"`
	From    int     `json:"from_items"`
	To      int     `json:"to_items"`
	InParts int     `json:"in_parts_from_items,omitempty"` // 0: none
	Share   float64 `json:"share"`                         // of the model's requests
	Batch   int     `json:"batch_items"`                   // 0: one by one
}

// NextRecord is one instance more: see Step.
type NextRecord struct {
	InstanceType string  `json:"instance_type"`
	Spot         bool    `json:"spot"`
	CostUSDH     float64 `json:"cost_usd_h"`
	AddsQPS      float64 `json:"adds_qps"`
}

// Records are the mixes of the plan, the best first and the current one, where
// there is one, last. p is the problem that was solved.
func (plan *Plan) Records(p *Problem) []Record {
	var records []Record
	add := func(role string, rank int, c *Candidate) {
		r := Record{
			Role: role, Rank: rank, Mix: MixText(p.Types, c.Mix), GoodputQPS: Round(c.Goodput, 4),
			EstimateQPS: Round(c.Estimate, 4), CostUSDH: Round(c.USDPerHour, 6), Bounds: c.Bounds.Round(), Of: c,
		}
		if c.Verified {
			allowed := r.GoodputQPS
			r.AllowableQPS = &allowed
		}
		records = append(records, r)
	}
	add("best", 1, &plan.Best)
	for i := range plan.Others {
		add("other", i+2, &plan.Others[i])
	}
	if p.Current != nil {
		add("current", plan.Rank, &plan.Current)
	}
	records[0].Why = plan.why(p)
	return records
}

func (plan *Plan) why(p *Problem) *Why {
	why := &Why{
		BudgetUSDH: p.Budget, RequiredQPS: p.Rate, Uses: []UseRecord{}, QPSPerUSDH: Round(plan.PerUSD, 4), RelaxedQPS: Round(plan.Relaxed, 4),
		Reached: Round(plan.Reached, 6), Examined: plan.Examined, Measured: plan.Measured, Exhaustive: plan.Exhaustive,
	}
	if p.Rate > 0 {
		headroom := Round(plan.Headroom, 6)
		why.Headroom = &headroom
	}
	for i := range plan.Uses {
		u := &plan.Uses[i]
		r := UseRecord{
			InstanceType: p.Types[u.Type].Name, Instances: Round(u.Instances, 4), Requests: Round(u.Requests, 6), Work: Round(u.Work, 6),
			Utilisation: Round(u.Utilisation, 6), ValueQPS: Round(u.Value, 4), QPSPerUSDH: Round(u.PerUSD, 4), Serves: []SpanRecord{},
		}
		for _, s := range u.Models {
			r.Serves = append(r.Serves, SpanRecord{p.Models[s.Model].Name, s.From, s.To, s.InParts, Round(s.Share, 6), s.Batch})
		}
		why.Uses = append(why.Uses, r)
	}
	if n := &plan.Next; n.Type >= 0 {
		why.Next = &NextRecord{p.Types[n.Type].Name, n.Spot, Round(n.USDPerHour, 6), Round(n.Adds, 4)}
	}
	return why
}

// Round is the bounds with four digits after the point.
func (b Bounds) Round() Bounds {
	return Bounds{
		Kairos: Round(b.Kairos, 4), LP: Round(b.LP, 4), Shed: Round(b.Shed, 4),
		Batching: Round(b.Batching, 4), Merged: Round(b.Merged, 4),
	}
}

// Round keeps so many digits after the point, so that JSON is short.
func Round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// Milliseconds is d in ms, to the nanosecond.
func Milliseconds(d time.Duration) float64 { return Round(float64(d)/1e6, 6) }
