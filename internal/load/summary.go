package load

import (
	"strconv"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Summary is a tally as JSON has it. Its keys are kept stable. Times are in
// ms, shares are fractions of 1; what is not known is null.
type Summary struct {
	Target string `json:"target"`
	Model  string `json:"model"` // several: joined by commas
	Round  int    `json:"round"` // 0: all of them
	// RateQPS is the rate that was asked for, OfferedQPS that of the scheduled
	// instants, AchievedQPS that of good answers while it was measured, and
	// GoodputQPS that of good answers within QoS.
	RateQPS     float64  `json:"rate_qps"`
	OfferedQPS  float64  `json:"offered_qps"`
	AchievedQPS float64  `json:"achieved_qps"`
	GoodputQPS  *float64 `json:"goodput_qps"`
	RowsPerS    float64  `json:"rows_per_s"`
	QoSMS       *float64 `json:"qos_ms"`
	QoSOK       *float64 `json:"qos_ok"` // share of all that was scheduled
	// AllowableQPS is the rate that a search found; RateQPS is then that of the
	// phase it was measured in.
	AllowableQPS *float64 `json:"allowable_qps"`

	Seconds   float64        `json:"seconds"`
	Scheduled int            `json:"scheduled"`
	Sent      int            `json:"sent"`
	OK        int            `json:"ok"`
	Errors    map[string]int `json:"errors"`   // by kind, all kinds
	Statuses  map[string]int `json:"statuses"` // of the errors of kind status

	MeanMS  *float64 `json:"mean_ms"`
	P50MS   *float64 `json:"p50_ms"`
	P90MS   *float64 `json:"p90_ms"`
	P95MS   *float64 `json:"p95_ms"`
	P99MS   *float64 `json:"p99_ms"`
	P999MS  *float64 `json:"p999_ms"`
	P9999MS *float64 `json:"p9999_ms"`
	MaxMS   *float64 `json:"max_ms"`

	OwnP50MS *float64 `json:"own_p50_ms"`
	OwnP99MS *float64 `json:"own_p99_ms"`
	OwnMaxMS *float64 `json:"own_max_ms"`
	Waited   int      `json:"waited"` // for a connection
	WaitP99  *float64 `json:"wait_p99_ms"`

	Labelled int            `json:"labelled_rows"`
	Accuracy *float64       `json:"accuracy"`
	Exits    map[string]int `json:"exits"` // answers by the exit they name
}

// Summary sums the tally up. What it is of is left empty.
func (t *Tally) Summary() Summary {
	s := Summary{Scheduled: t.Scheduled, OK: t.By[OK], Errors: map[string]int{}, Statuses: map[string]int{}, Exits: map[string]int{}, Seconds: t.Seconds()}
	for o := Outcome(0); o < outcomes; o++ {
		if o.Sent() {
			s.Sent += t.By[o]
		}
		if o != OK {
			s.Errors[o.String()] = t.By[o]
		}
	}
	for code, n := range t.Statuses {
		s.Statuses[strconv.Itoa(int(code))] = n
	}
	for e, n := range t.Exits {
		if n > 0 {
			s.Exits[strconv.Itoa(e)] = n
		}
	}
	if s.Seconds > 0 {
		s.OfferedQPS = float64(t.Scheduled) / s.Seconds
		s.AchievedQPS = float64(t.Finished) / s.Seconds
		s.RowsPerS = float64(t.Rows) / s.Seconds
	}
	if t.qos > 0 {
		s.QoSMS = some(float64(t.qos) / 1e6)
		if t.Scheduled > 0 {
			s.QoSOK = some(float64(t.Good) / float64(t.Scheduled))
			s.GoodputQPS = some(float64(t.Good) / s.Seconds)
		}
	}
	s.MeanMS, s.MaxMS = mean(t.Latency), quantile(t.Latency, 100)
	s.P50MS, s.P90MS, s.P95MS = quantile(t.Latency, 50), quantile(t.Latency, 90), quantile(t.Latency, 95)
	s.P99MS, s.P999MS, s.P9999MS = quantile(t.Latency, 99), quantile(t.Latency, 99.9), quantile(t.Latency, 99.99)
	s.OwnP50MS, s.OwnP99MS, s.OwnMaxMS = quantile(t.Own, 50), quantile(t.Own, 99), quantile(t.Own, 100)
	s.Waited, s.WaitP99 = int(t.Wait.TotalCount()), quantile(t.Wait, 99)
	if s.Labelled = t.Labelled; s.Labelled > 0 {
		s.Accuracy = some(float64(t.Right) / float64(t.Labelled))
	}
	return s
}

func some(v float64) *float64 { return &v }

func mean(h *hdr.Histogram) *float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	return some(h.Mean() / 1e6)
}

// quantile is in ms.
func quantile(h *hdr.Histogram, percent float64) *float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	return some(float64(h.ValueAtQuantile(percent)) / 1e6)
}

// Merge adds what another tally counted, of other phases.
func (t *Tally) Merge(o *Tally) {
	t.Latency.Merge(o.Latency)
	t.Own.Merge(o.Own)
	t.Wait.Merge(o.Wait)
	t.Scheduled += o.Scheduled
	for i, n := range o.By {
		t.By[i] += n
	}
	for code, n := range o.Statuses {
		t.Statuses[code] += n
	}
	for e, n := range o.Exits {
		t.Exits[e] += n
	}
	t.Good, t.Finished, t.Rows = t.Good+o.Good, t.Finished+o.Finished, t.Rows+o.Rows
	t.Labelled, t.Right, t.Marked = t.Labelled+o.Labelled, t.Right+o.Right, t.Marked+o.Marked
	t.merged += o.Seconds()
}
