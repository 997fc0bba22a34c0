package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"motley/internal/planner"
	"motley/internal/sim"
)

// Record is one experiment as -json prints it. Its keys are kept stable.
type Record struct {
	Model      string  `json:"model"`
	Mix        string  `json:"mix"` // TYPE=COUNT,…
	Policy     string  `json:"policy"`
	Arrivals   string  `json:"arrivals"`
	QoSMS      float64 `json:"qos_ms"`
	Percentile float64 `json:"percentile"`
	// RateQPS is the rate it was measured at, in requests/s, and QoSOK the share
	// of the requests (0…1) that were answered within QoS there.
	RateQPS float64 `json:"rate_qps"`
	QoSOK   float64 `json:"qos_ok"`
	// AllowableQPS is the allowable throughput in requests/s; null where it was
	// not searched for.
	AllowableQPS *float64 `json:"allowable_qps"`
	// P50MS and P99MS are of the time from arrival to answer, of those that were
	// answered; the largest of all seeds.
	P50MS    float64         `json:"p50_ms"`
	P99MS    float64         `json:"p99_ms"`
	CostUSDH float64         `json:"cost_usd_h"`
	Bounds   *planner.Bounds `json:"bounds"` // null where there are none

	GoodputQPS float64 `json:"goodput_qps"`
	Busy       float64 `json:"busy"` // share of the workers' time
	Requests   int     `json:"requests"`
	Seeds      int     `json:"seeds"`
	Late       int     `json:"late"`
	Rejected   int     `json:"rejected"`
	GivenUp    int     `json:"given_up"`
}

// record is the outcome of an experiment. m is the measurement, allowed the
// allowable throughput or NaN.
func (s *Setup) record(counts []int, v Variant, m sim.Measurement, allowed float64) Record {
	r := Record{
		Model: s.Model.Name, Mix: mixText(s.Types, counts), Policy: v.Name, Arrivals: s.Arrivals.String(),
		QoSMS: planner.Milliseconds(s.Model.QoS), Percentile: planner.Round(100*s.Model.Quantile, 6), RateQPS: planner.Round(m.Rate, 4),
		P50MS: planner.Milliseconds(m.P50), P99MS: planner.Milliseconds(m.P99), CostUSDH: planner.Round(cost(s.Types, counts), 6),
		GoodputQPS: planner.Round(m.Goodput, 4), Busy: planner.Round(m.Busy, 6), Requests: s.Requests, Seeds: len(s.Seeds),
		Late: m.Late, Rejected: m.Rejected, GivenUp: m.GivenUp,
	}
	if m.Requests > 0 {
		r.QoSOK = planner.Round(m.Share(), 6)
	}
	if !math.IsNaN(allowed) {
		allowed = planner.Round(allowed, 4)
		r.AllowableQPS = &allowed
	}
	return r
}

// writeJSON writes one array, a record per line.
func writeJSON[T any](w io.Writer, records []T) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "[]")
		return err
	}
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
