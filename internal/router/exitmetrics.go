package router

import (
	"math"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/earlyexit"
)

// exitCollector reads where early exit stands when it is scraped.
type exitCollector struct {
	models atomic.Pointer[[]*model] // nil until a server is made
}

// exitSeries is one value of a report that is a series.
type exitSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*earlyexit.Report) float64 // NaN: there is none
}

// rampSeries is the same for a ramp's part of a report.
type rampSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*earlyexit.RampReport) float64
}

func modelExit(name, help string, kind prometheus.ValueType, value func(*earlyexit.Report) float64) exitSeries {
	return exitSeries{prometheus.NewDesc("motley_exit_"+name, help, []string{"model"}, nil), kind, value}
}

func rampExit(name, help string, kind prometheus.ValueType, value func(*earlyexit.RampReport) float64) rampSeries {
	return rampSeries{prometheus.NewDesc("motley_exit_"+name, help, []string{"model", "ramp"}, nil), kind, value}
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var exitsOfModel = []exitSeries{
	modelExit("target_agreement", "Share of answers that are to agree with the full model's.", gauge,
		func(r *earlyexit.Report) float64 { return r.Target }),
	modelExit("tau", "Rows exit where the calibrated risk is at most this.", gauge,
		func(r *earlyexit.Report) float64 { return r.Tau }),
	modelExit("agreement", "Estimated share of answers that agree with the full model's.", gauge,
		func(r *earlyexit.Report) float64 { return r.Agreement }),
	modelExit("agreement_low95", "Lower bound of the agreement: one-sided, 95 %.", gauge,
		func(r *earlyexit.Report) float64 { return r.Low95 }),
	modelExit("certified_disagreement", "Smallest share of disagreement that is proven at 95 %, at any time; 1: none.", gauge,
		func(r *earlyexit.Report) float64 { return r.Certified }),
	modelExit("safe", "1 while nothing exits until enough audits are in.", gauge,
		func(r *earlyexit.Report) float64 { return oneIf(r.Safe) }),
	modelExit("alarms_total", "Times that a change of the stream was noticed.", counter,
		func(r *earlyexit.Report) float64 { return float64(r.Alarms) }),
	modelExit("lost_audits_total", "Rows that were to run to the end and did not.", counter,
		func(r *earlyexit.Report) float64 { return float64(r.Lost) }),
}

var exitsOfRamp = []rampSeries{
	rampExit("ramp_active", "1 while single rows are shown to the ramp.", gauge,
		func(r *earlyexit.RampReport) float64 { return oneIf(r.Active) }),
	rampExit("rows_seen_total", "Rows that the ramp was evaluated for.", counter,
		func(r *earlyexit.RampReport) float64 { return float64(r.Seen) }),
	rampExit("rows_exited_total", "Rows that the ramp answered.", counter,
		func(r *earlyexit.RampReport) float64 { return float64(r.Exited) }),
	rampExit("rows_audited_total", "Rows that the ramp answered and that ran to the end.", counter,
		func(r *earlyexit.RampReport) float64 { return float64(r.Audited) }),
	rampExit("rows_disagreed_total", "Estimate of the rows that the ramp answered otherwise than the full model: audits, each by one over its probability.", counter,
		func(r *earlyexit.RampReport) float64 { return r.Disagreed }),
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (c *exitCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range exitsOfModel {
		ch <- s.desc
	}
	for _, s := range exitsOfRamp {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c *exitCollector) Collect(ch chan<- prometheus.Metric) {
	models := c.models.Load()
	if models == nil {
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		if !math.IsNaN(v) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
		}
	}
	for _, m := range *models {
		r, ok := m.report()
		if !ok {
			continue
		}
		for _, s := range exitsOfModel {
			send(s.desc, s.kind, s.value(&r), m.Name)
		}
		for i := range min(len(r.Ramps), earlyexit.MaxRamps) {
			for _, s := range exitsOfRamp {
				send(s.desc, s.kind, s.value(&r.Ramps[i]), m.Name, strconv.Itoa(i))
			}
		}
	}
}
