package app

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"motley/internal/planner"
)

// planRecord is one mix as `router plan -json` prints it, by the keys of
// bench.
type planRecord struct {
	Model      string  `json:"model"` // names, joined by commas
	Policy     string  `json:"policy"`
	Arrivals   string  `json:"arrivals"`
	QoSMS      float64 `json:"qos_ms"`     // 0: the models differ, see models
	Percentile float64 `json:"percentile"` // 0: they differ
	planner.Record
	RateQPS float64     `json:"rate_qps"` // what it was simulated at
	QoSOK   float64     `json:"qos_ok"`   // share within QoS there
	P50MS   float64     `json:"p50_ms"`
	P99MS   float64     `json:"p99_ms"`
	Models  []planModel `json:"models"`
	Priors  []string    `json:"priors,omitempty"` // latencies that were never measured
}

type planModel struct {
	Model      string  `json:"model"`
	Share      float64 `json:"share"` // of all requests
	Sizes      string  `json:"sizes"`
	QoSMS      float64 `json:"qos_ms"`
	Percentile float64 `json:"percentile"`
	QoSOK      float64 `json:"qos_ok"`
}

func (s *study) writeJSON(w io.Writer, p *planner.Problem, plan *planner.Plan) error {
	records := plan.Records(p)
	for i, r := range records {
		line, err := json.Marshal(s.record(r))
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

// record adds what the planner was not told.
func (s *study) record(of planner.Record) planRecord {
	at := s.measured[keyOf(of.Of.Mix)].At
	r := planRecord{
		Model: strings.Join(s.names(), ","), Policy: s.cfg.Policy, Arrivals: s.arrivals.String(), Record: of,
		RateQPS: planner.Round(at.Rate, 4), P50MS: planner.Milliseconds(at.P50), P99MS: planner.Milliseconds(at.P99), Priors: s.priors,
	}
	if at.Requests > 0 {
		r.QoSOK = planner.Round(at.Share(), 6)
	}
	for i, m := range s.models {
		one := planModel{
			Model: m.Name, Share: planner.Round(s.shareOf(i), 6), Sizes: s.demand[i].Sizes.String(),
			QoSMS: planner.Milliseconds(m.QoS), Percentile: planner.Round(100*m.Quantile, 6),
		}
		if i < len(at.Models) && at.Models[i].Requests > 0 {
			one.QoSOK = planner.Round(at.Models[i].Share(), 6)
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

func (s *study) names() []string {
	var names []string
	for _, m := range s.models {
		names = append(names, m.Name)
	}
	return names
}
