package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"motley/internal/gpu/device"
)

// Exporter asks a DCGM exporter (DCGM_FI_DEV_…) or a Triton server (nv_gpu_…)
// for its metrics page. It is safe for concurrent use.
type Exporter struct {
	opt Options
	mu  struct {
		sync.Mutex
		seq  uint64
		xids map[string]device.XID // the last of each device
	}
}

// NewExporter returns a source; it asks nothing yet.
func NewExporter(opt Options) (*Exporter, error) {
	opt, err := opt.withDefaults()
	e := &Exporter{opt: opt}
	e.mu.xids = map[string]device.XID{}
	return e, err
}

// Read asks for the page. A page without a GPU is an error: the exporter has
// lost them, or is none.
func (e *Exporter) Read(ctx context.Context) (device.Page, error) {
	data, err := e.opt.get(ctx)
	if err != nil {
		return device.Page{}, err
	}
	page, err := parse(data)
	if err != nil {
		return device.Page{}, fmt.Errorf("cannot poll %s: %w", e.opt.URL, err)
	}
	e.number(page)
	return page, nil
}

// number makes events of the last XID that a page names for each device: it
// stays there for good, so only a change is news.
func (e *Exporter) number(p device.Page) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range p.Samples {
		s := &p.Samples[i]
		if len(s.XIDs) == 0 {
			delete(e.mu.xids, s.Device)
			continue
		}
		last, ok := e.mu.xids[s.Device]
		if !ok || last.Code != s.XIDs[0].Code {
			e.mu.seq++
			last = device.XID{Seq: e.mu.seq, Code: s.XIDs[0].Code}
			e.mu.xids[s.Device] = last
		}
		s.XIDs[0] = last
	}
}

// errNoDevice is a page that names no GPU.
var errNoDevice = errors.New("it names no GPU: neither DCGM_FI_DEV_… nor nv_gpu_… is on it")

// parse reads a metrics page.
func parse(data []byte) (device.Page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		return device.Page{}, fmt.Errorf("cannot read metrics: %w", err)
	}
	names := make([]string, 0, len(families))
	for name := range families {
		if fields[name].put != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b := builder{at: map[string]int{}}
	for _, name := range names {
		for _, m := range families[name].Metric {
			if v, ok := valueOf(m); ok {
				b.put(fields[name], m, v)
			}
		}
	}
	if len(b.page.Devices) == 0 {
		return device.Page{}, errNoDevice
	}
	if len(b.page.Devices) > maxDevices {
		return device.Page{}, fmt.Errorf("it names %d devices; at most %d", len(b.page.Devices), maxDevices)
	}
	b.finish()
	return b.page, nil
}

const maxDevices = 1024

// builder collects what a page says, device by device.
type builder struct {
	page device.Page
	at   map[string]int // by ID
	free []device.Number
}

func (b *builder) put(f field, m *dto.Metric, v float64) {
	l := map[string]string{}
	for _, p := range m.Label {
		l[p.GetName()] = p.GetValue()
	}
	d := deviceOf(l)
	if d.ID == "" || len(d.ID) > 256 || len(d.Name) > 256 {
		return
	}
	i, ok := b.at[d.ID]
	if !ok {
		i = len(b.page.Devices)
		b.at[d.ID] = i
		b.page.Devices = append(b.page.Devices, d)
		b.page.Samples = append(b.page.Samples, device.Sample{Device: d.ID, Access: device.Reachable})
		b.free = append(b.free, device.Number{})
	}
	f.put(&target{&b.page.Devices[i], &b.page.Samples[i], &b.free[i]}, v)
}

// deviceOf reads the labels of a DCGM exporter or of Triton.
func deviceOf(l map[string]string) device.Device {
	d := device.Device{ID: l["UUID"], Kind: device.GPU, Name: l["modelName"], Host: l["Hostname"], Driver: l["DCGM_FI_DRIVER_VERSION"], PCI: l["pci_bus_id"]}
	if d.ID == "" {
		d.ID = l["gpu_uuid"]
	}
	if d.ID == "" && l["gpu"] != "" { // an old exporter
		d.ID = "gpu:" + l["gpu"]
	}
	d.Index, _ = strconv.Atoi(l["gpu"])
	if slice := l["GPU_I_ID"]; slice != "" && d.ID != "" {
		d.Kind, d.Parent = device.MIG, d.ID
		d.ID += "/" + slice
		d.Name = strings.TrimSpace(d.Name + " " + l["GPU_I_PROFILE"])
		d.Slice = &device.Slice{}
		d.Slice.GPUInstance, _ = strconv.Atoi(slice)
	}
	return d
}

// finish derives what takes two metrics, and names what the page lacks.
func (b *builder) finish() {
	for i := range b.page.Samples {
		s, d := &b.page.Samples[i], &b.page.Devices[i]
		if free := b.free[i]; free.Known && s.MemoryUsed.Known && d.MemoryBytes == 0 {
			d.MemoryBytes = whole(free.Value + s.MemoryUsed.Value)
		}
		for _, r := range []struct {
			name string
			n    device.Number
		}{
			{"utilisation", s.Utilisation}, {"memory_used", s.MemoryUsed}, {"temperature", s.TemperatureC}, {"power", s.PowerW},
			{"sm_clock", s.SMClockMHz}, {"ecc_volatile_uncorrected", s.ECC.VolatileUncorrected}, {"pcie_replay", s.PCIeReplay},
		} {
			if !r.n.Known {
				s.Missing = append(s.Missing, r.name)
			}
		}
	}
}

func valueOf(m *dto.Metric) (float64, bool) {
	var v float64
	switch {
	case m.Gauge != nil:
		v = m.Gauge.GetValue()
	case m.Counter != nil:
		v = m.Counter.GetValue()
	case m.Untyped != nil:
		v = m.Untyped.GetValue()
	default:
		return 0, false
	}
	return v, !blank(v) && v >= 0
}

// blank reports whether v is one of DCGM's marks for what it does not know
// (dcgm_structs.h: DCGM_INT32_BLANK, DCGM_FP64_BLANK, DCGM_INT64_BLANK and the
// fifteen values after each), or no number.
func blank(v float64) bool {
	const int32Blank, fp64Blank = 0x7ffffff0, 1 << 47
	return v != v || v >= int32Blank && v < int32Blank+16 || v >= fp64Blank
}
