package gpu

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/gpu/device"
)

// collector makes metrics of the last pages of pollers.
type collector struct{ pollers func() []*Poller }

// NewCollector returns a collector of what the pollers read last: motley_gpu_….
func NewCollector(pollers func() []*Poller) prometheus.Collector { return &collector{pollers} }

// metric is one that is made of a sample, or none.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(device.Device, device.Sample) device.Number
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("motley_gpu_"+name, help, labels, nil)
}

// gauge and counter are metrics of a sample, labelled with the device alone.
func gauge(name, help string, of func(device.Sample) device.Number) metric {
	return metric{desc(name, help, "device"), prometheus.GaugeValue, func(_ device.Device, s device.Sample) device.Number { return of(s) }}
}

func counter(name, help string, of func(device.Sample) device.Number) metric {
	m := gauge(name, help, of)
	m.kind = prometheus.CounterValue
	return m
}

func scaled(n device.Number, by float64) device.Number {
	n.Value *= by
	return n
}

func truth(b bool) device.Number {
	if b {
		return device.Of(1)
	}
	return device.Of(0)
}

// load reads a host's load; unknown of other devices.
func load(of func(*device.Load) device.Number) func(device.Sample) device.Number {
	return func(s device.Sample) device.Number {
		if s.Load == nil {
			return device.Number{}
		}
		return of(s.Load)
	}
}

// metrics are those with a device label and nothing else.
var metrics = []metric{
	gauge("reachable", "Whether the device answers.", func(s device.Sample) device.Number { return truth(s.Access == device.Reachable) }),
	gauge("sample_age_seconds", "Age of the device's last sample.", func(s device.Sample) device.Number { return device.Of(s.Age.Seconds()) }),
	gauge("utilization_ratio", "Share of time that the device was at work.", func(s device.Sample) device.Number { return s.Utilisation }),
	gauge("memory_used_bytes", "Memory in use.", func(s device.Sample) device.Number { return s.MemoryUsed }),
	{desc("memory_size_bytes", "Memory of the device.", "device"), prometheus.GaugeValue, func(d device.Device, _ device.Sample) device.Number {
		return device.Number{Value: float64(d.MemoryBytes), Known: d.MemoryBytes > 0}
	}},
	gauge("temperature_celsius", "Temperature.", func(s device.Sample) device.Number { return s.TemperatureC }),
	gauge("power_watts", "Power drawn.", func(s device.Sample) device.Number { return s.PowerW }),
	gauge("power_limit_watts", "Power allowed.", func(s device.Sample) device.Number { return s.PowerLimitW }),
	gauge("sm_clock_hertz", "Clock of the streaming multiprocessors.", func(s device.Sample) device.Number { return scaled(s.SMClockMHz, 1e6) }),
	gauge("memory_clock_hertz", "Clock of the memory.", func(s device.Sample) device.Number { return scaled(s.MemoryClockMHz, 1e6) }),
	{desc("sm_clock_max_hertz", "Highest clock of the streaming multiprocessors.", "device"), prometheus.GaugeValue, func(d device.Device, _ device.Sample) device.Number {
		return scaled(d.SMClockMaxMHz, 1e6)
	}},
	counter("pcie_replays_total", "PCIe packets sent again since the driver was loaded.", func(s device.Sample) device.Number { return s.PCIeReplay }),
	gauge("row_remap_failed", "Whether a memory row could not be remapped.", func(s device.Sample) device.Number {
		return device.Number{Value: truth(s.Rows.Failed).Value, Known: s.Rows.Failed || s.Rows.Correctable.Known}
	}),
	gauge("xid_last", "The last XID that the driver reported; 0 for none.", func(s device.Sample) device.Number {
		if n := len(s.XIDs); n > 0 {
			return device.Of(float64(s.XIDs[n-1].Code))
		}
		return device.Number{}
	}),
	gauge("processes", "Processes that compute on the device.", func(s device.Sample) device.Number {
		return device.Number{Value: float64(len(s.Processes)), Known: s.Access == device.Reachable && s.Load == nil}
	}),
	gauge("host_load1", "Runnable tasks of the host, mean of a minute.", load(func(l *device.Load) device.Number { return l.Load1 })),
	gauge("host_clock_hertz", "Mean clock of the host's processors.", load(func(l *device.Load) device.Number { return scaled(l.MHz, 1e6) })),
	gauge("host_memory_available_bytes", "Memory of the host that programs can still have.", load(func(l *device.Load) device.Number { return l.Available })),
	gauge("host_throttled_ratio", "Share of periods in which the control group was held back.", load(func(l *device.Load) device.Number { return l.Throttled })),
}

// Those with more labels, and those of the poller.
var (
	infoDesc     = desc("info", "What the device is.", "device", "kind", "index", "name", "parent", "host", "driver", "compute_capability")
	accessDesc   = desc("access", "How asking the device ended.", "device", "access")
	throttleDesc = desc("throttled", "Reasons why clocks are held down.", "device", "reason")
	eccDesc      = desc("memory_errors_total", "ECC errors, volatile (since the driver was loaded) or aggregate (over the device's life).", "device", "span", "kind")
	rowsDesc     = desc("remapped_rows_total", "Memory rows remapped over the device's life.", "device", "kind")
	pagesDesc    = desc("retired_pages_total", "Memory pages retired over the device's life.", "device", "kind")
	readsDesc    = desc("reads_total", "Times that the source was asked.")
	failuresDesc = desc("read_failures_total", "Times that asking the source failed.")
)

// Describe names the metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range metrics {
		out <- m.desc
	}
	for _, d := range []*prometheus.Desc{infoDesc, accessDesc, throttleDesc, eccDesc, rowsDesc, pagesDesc, readsDesc, failuresDesc} {
		out <- d
	}
}

// Collect makes metrics of the last pages. A device that they name twice counts
// once: one bad page must not cost all metrics.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, v device.Number, labels ...string) {
		if !v.Known {
			return
		}
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "?")
		}
		if m, err := prometheus.NewConstMetric(d, kind, v.Value, labels...); err == nil {
			out <- m
		}
	}
	reads, failures := 0, 0
	var page device.Page
	for _, p := range c.pollers() {
		r, f := p.Counts()
		reads, failures = reads+r, failures+f
		last, _ := p.Latest()
		page.Devices, page.Samples = append(page.Devices, last.Devices...), append(page.Samples, last.Samples...)
	}
	emit(readsDesc, prometheus.CounterValue, device.Of(float64(reads)))
	emit(failuresDesc, prometheus.CounterValue, device.Of(float64(failures)))
	seen := map[string]bool{}
	for _, s := range page.Samples {
		id := strings.ToValidUTF8(s.Device, "?")
		if seen[id] {
			continue
		}
		seen[id] = true
		d, _ := find(page.Devices, s.Device)
		emit(infoDesc, prometheus.GaugeValue, device.Of(1), id, string(d.Kind), strconv.Itoa(d.Index), d.Name, d.Parent, d.Host, d.Driver, d.ComputeCapability)
		emit(accessDesc, prometheus.GaugeValue, device.Of(1), id, string(s.Access))
		for _, m := range metrics {
			emit(m.desc, m.kind, m.of(d, s), id)
		}
		for _, reason := range s.Throttle.Names() {
			emit(throttleDesc, prometheus.GaugeValue, device.Of(1), id, reason)
		}
		emit(eccDesc, prometheus.CounterValue, s.ECC.VolatileCorrected, id, "volatile", "corrected")
		emit(eccDesc, prometheus.CounterValue, s.ECC.VolatileUncorrected, id, "volatile", "uncorrected")
		emit(eccDesc, prometheus.CounterValue, s.ECC.AggregateCorrected, id, "aggregate", "corrected")
		emit(eccDesc, prometheus.CounterValue, s.ECC.AggregateUncorrected, id, "aggregate", "uncorrected")
		emit(rowsDesc, prometheus.CounterValue, s.Rows.Correctable, id, "correctable")
		emit(rowsDesc, prometheus.CounterValue, s.Rows.Uncorrectable, id, "uncorrectable")
		emit(pagesDesc, prometheus.CounterValue, s.Pages.SingleBit, id, "single_bit")
		emit(pagesDesc, prometheus.CounterValue, s.Pages.DoubleBit, id, "double_bit")
	}
}
