package profiler

import (
	"encoding/json"
	"io"
	"time"
)

type resultForm struct {
	Model          string      `json:"model"`
	InstanceType   string      `json:"instance_type"`
	Origin         string      `json:"origin"` // measured, passive, learned, prior
	Source         string      `json:"source,omitempty"`
	Worker         string      `json:"worker"`
	Backend        string      `json:"backend"`
	Share          float64     `json:"share"`
	Sizes          []sizeForm  `json:"sizes"`
	FixedMS        float64     `json:"fixed_ms"`
	PerItemMS      float64     `json:"per_item_ms"`
	WorstResidual  float64     `json:"worst_residual"`
	Affine         bool        `json:"affine"` // the law holds
	HeldOut        []checkForm `json:"held_out"`
	LargestBatch   int         `json:"largest_batch"`
	Refused        string      `json:"refused,omitempty"`
	Ended          string      `json:"ended"`
	Notes          []string    `json:"notes"`
	Runs           int         `json:"runs"`
	WarmUp         int         `json:"warm_up"`
	Failed         int         `json:"failed"`
	Seconds        float64     `json:"seconds"`
	BusyShare      float64     `json:"busy_share"`
	Error          string      `json:"error,omitempty"`
	WorstResidualN int         `json:"worst_residual_batch"`
}

type sizeForm struct {
	Batch    int     `json:"batch"`
	MeanMS   float64 `json:"mean_ms"`
	HalfMS   float64 `json:"mean_95_half_ms"` // as large as the mean: unknown
	P99MS    float64 `json:"p99_ms"`          // 0: unknown
	ItemsPS  float64 `json:"items_per_s"`
	Runs     int     `json:"runs"`
	Outliers int     `json:"outliers"`
}

type checkForm struct {
	Batch       int     `json:"batch"`
	PredictedMS float64 `json:"predicted_ms"`
	MeasuredMS  float64 `json:"measured_ms"`
	Error       float64 `json:"error"`         // relative
	Half        float64 `json:"error_95_half"` // likewise
	Holds       bool    `json:"holds"`
	Refutes     bool    `json:"refutes"`
}

// WriteJSON writes the results as one array; docs/profiling.md names the fields.
func WriteJSON(w io.Writer, results []Result) error {
	forms := []resultForm{}
	for i := range results {
		forms = append(forms, results[i].form())
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(forms)
}

func (r *Result) form() resultForm {
	f := resultForm{
		Model: r.Target.Model, InstanceType: r.Target.Type, Origin: r.Origin.String(), Source: r.Source, Worker: r.Target.Worker, Share: r.Target.Share,
		Sizes: []sizeForm{}, FixedMS: ms(r.Law.Fixed), PerItemMS: ms(r.Law.PerItem), WorstResidual: r.Law.Worst, WorstResidualN: r.Law.WorstAt, Affine: len(r.Sizes) > 1 && r.affine(),
		HeldOut: []checkForm{}, LargestBatch: r.Largest, Refused: r.Refused, Ended: r.Ended, Notes: append([]string{}, r.Notes...),
		Runs: r.Runs, WarmUp: r.Warm, Failed: r.Failed, Seconds: r.Took.Seconds(), BusyShare: r.busyShare(),
	}
	if r.Target.Backend != nil {
		f.Backend = r.Target.Backend.Describe()
	}
	if r.Err != nil {
		f.Error = r.Err.Error()
	}
	for _, s := range r.Sizes {
		f.Sizes = append(f.Sizes, sizeForm{s.Batch, ms(s.Mean), ms(s.Half), ms(s.P99), s.Rate(), s.Count, s.Dropped})
	}
	for _, c := range r.HeldOut {
		f.HeldOut = append(f.HeldOut, checkForm{c.Batch, ms(c.Predicted), ms(c.Measured), c.Error(), c.Half(), c.Holds(), c.Refutes()})
	}
	return f
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
