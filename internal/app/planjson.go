package app

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"motley/internal/planner"
)

// planRecord is one mix as `router plan -json` prints it. The keys up to
// bounds are those of bench.
type planRecord struct {
	Model        string     `json:"model"` // names, joined by commas
	Mix          string     `json:"mix"`   // TYPE=COUNT,…
	Policy       string     `json:"policy"`
	Arrivals     string     `json:"arrivals"`
	QoSMS        float64    `json:"qos_ms"`     // 0: the models differ, see models
	Percentile   float64    `json:"percentile"` // 0: they differ
	RateQPS      float64    `json:"rate_qps"`   // what it was simulated at
	QoSOK        float64    `json:"qos_ok"`     // share within QoS there
	AllowableQPS float64    `json:"allowable_qps"`
	P50MS        float64    `json:"p50_ms"`
	P99MS        float64    `json:"p99_ms"`
	CostUSDH     float64    `json:"cost_usd_h"`
	Bounds       planBounds `json:"bounds"`

	Role        string      `json:"role"` // best, other, current
	Rank        int         `json:"rank"` // 1 is the best
	EstimateQPS float64     `json:"estimate_qps"`
	Models      []planModel `json:"models,omitempty"`
	// Of the best mix only.
	BudgetUSDH  float64   `json:"budget_usd_h,omitempty"`
	RequiredQPS float64   `json:"required_qps,omitempty"`
	Headroom    *float64  `json:"headroom,omitempty"` // over required_qps, 0.1 = 10 %
	RelaxedQPS  float64   `json:"relaxed_qps,omitempty"`
	QPSPerUSD   float64   `json:"qps_per_usd,omitempty"` // of a further USD per hour
	Uses        []planUse `json:"uses,omitempty"`
	Next        *planNext `json:"next,omitempty"`
	Examined    int       `json:"examined,omitempty"`
	Simulated   int       `json:"simulated,omitempty"`
}

type planBounds struct {
	KairosUB float64 `json:"kairos_ub"`
	LP       float64 `json:"lp"`
	LPShed   float64 `json:"lp_shed"`
	Batching float64 `json:"batching"`
	Merged   float64 `json:"merged"`
}

type planModel struct {
	Model      string  `json:"model"`
	Share      float64 `json:"share"` // of all requests
	Sizes      string  `json:"sizes"`
	QoSMS      float64 `json:"qos_ms"`
	Percentile float64 `json:"percentile"`
	QoSOK      float64 `json:"qos_ok"`
}

type planUse struct {
	InstanceType string     `json:"instance_type"`
	Instances    float64    `json:"instances"` // spot ones by their availability
	Requests     float64    `json:"requests"`  // share of all
	Work         float64    `json:"work"`      // share of all busy time
	Utilisation  float64    `json:"utilisation"`
	ValueQPS     float64    `json:"value_qps"` // of another instance
	QPSPerUSD    float64    `json:"qps_per_usd"`
	Serves       []planSpan `json:"serves"`
}

type planSpan struct {
	Model string  `json:"model"`
	From  int     `json:"from_items"`
	To    int     `json:"to_items"`
	Share float64 `json:"share"`       // of the model's requests
	Batch int     `json:"batch_items"` // 0: one by one
}

type planNext struct {
	InstanceType string  `json:"instance_type"`
	Spot         bool    `json:"spot"`
	CostUSDH     float64 `json:"cost_usd_h"`
	AddsQPS      float64 `json:"adds_qps"`
}

func (s *study) writeJSON(w io.Writer, p *planner.Problem, plan *planner.Plan) error {
	best := s.record(&plan.Best, "best", 1)
	s.reasons(&best, p, plan)
	records := []planRecord{best}
	for i := range plan.Others {
		records = append(records, s.record(&plan.Others[i], "other", i+2))
	}
	records = append(records, s.record(&plan.Current, "current", plan.Rank))
	for i, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("cannot write JSON: %w", err)
		}
		start, end := " ", ","
		if i == 0 {
			start = "["
		}
		if i == len(records)-1 {
			end = "]"
		}
		if _, err := fmt.Fprintf(w, "%s%s%s\n", start, line, end); err != nil {
			return err
		}
	}
	return nil
}

func (s *study) record(c *planner.Candidate, role string, rank int) planRecord {
	at := s.measured[keyOf(c.Mix)].At
	r := planRecord{
		Model: strings.Join(s.names(), ","), Mix: s.mixText(c.Mix), Policy: s.cfg.Policy, Arrivals: s.arrivals.String(),
		RateQPS: rounded(at.Rate, 4), AllowableQPS: rounded(c.Goodput, 4), P50MS: toMS(at.P50), P99MS: toMS(at.P99),
		CostUSDH: rounded(c.USDPerHour, 6), Role: role, Rank: rank, EstimateQPS: rounded(c.Estimate, 4),
		Bounds: planBounds{
			KairosUB: rounded(c.Bounds.Kairos, 4), LP: rounded(c.Bounds.LP, 4), LPShed: rounded(c.Bounds.Shed, 4),
			Batching: rounded(c.Bounds.Batching, 4), Merged: rounded(c.Bounds.Merged, 4),
		},
	}
	if at.Requests > 0 {
		r.QoSOK = rounded(at.Share(), 6)
	}
	total := 0.0
	for _, m := range s.models {
		total += m.Share
	}
	for i, m := range s.models {
		one := planModel{
			Model: m.Name, Share: rounded(m.Share/total, 6), Sizes: s.demand[i].Sizes.String(),
			QoSMS: toMS(m.QoS), Percentile: rounded(100*m.Quantile, 6),
		}
		if i < len(at.Models) && at.Models[i].Requests > 0 {
			one.QoSOK = rounded(at.Models[i].Share(), 6)
		}
		r.Models = append(r.Models, one)
		if i == 0 {
			r.QoSMS, r.Percentile = one.QoSMS, one.Percentile
		}
		if one.QoSMS != r.QoSMS {
			r.QoSMS = 0
		}
		if one.Percentile != r.Percentile {
			r.Percentile = 0
		}
	}
	return r
}

// reasons adds what is said of the best mix only.
func (s *study) reasons(r *planRecord, p *planner.Problem, plan *planner.Plan) {
	r.BudgetUSDH, r.RequiredQPS = p.Budget, p.Rate
	if p.Rate > 0 {
		headroom := rounded(plan.Headroom, 6)
		r.Headroom = &headroom
	}
	r.RelaxedQPS, r.QPSPerUSD = rounded(plan.Relaxed, 4), rounded(plan.PerUSD, 4)
	r.Examined, r.Simulated = plan.Examined, plan.Measured
	for _, u := range plan.Uses {
		use := planUse{
			InstanceType: s.types[u.Type].Name, Instances: rounded(u.Instances, 4), Requests: rounded(u.Requests, 6),
			Work: rounded(u.Work, 6), Utilisation: rounded(u.Utilisation, 6),
			ValueQPS: rounded(u.Value, 4), QPSPerUSD: rounded(u.PerUSD, 4), Serves: []planSpan{},
		}
		for _, m := range u.Models {
			use.Serves = append(use.Serves, planSpan{s.models[m.Model].Name, m.From, m.To, rounded(m.Share, 6), m.Batch})
		}
		r.Uses = append(r.Uses, use)
	}
	if n := plan.Next; n.Type >= 0 {
		r.Next = &planNext{s.types[n.Type].Name, n.Spot, n.USDPerHour, rounded(n.Adds, 4)}
	}
}

func (s *study) names() []string {
	var names []string
	for _, m := range s.models {
		names = append(names, m.Name)
	}
	return names
}
