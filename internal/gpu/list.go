package gpu

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
)

// Listing is a page and what is made of it: what `router gpus -json` prints.
type Listing struct {
	device.Page
	Health []Verdict `json:"health"`
}

// Verdict is the judgement of one device by one sample.
type Verdict struct {
	Device   string   `json:"device"`
	State    string   `json:"state"`
	Action   string   `json:"action"`
	Slowdown float64  `json:"slowdown"`
	Evidence []string `json:"evidence,omitempty"`
}

// List reads a source once and judges what it says.
func List(ctx context.Context, src Source) (Listing, error) {
	page, err := src.Read(ctx)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Page: page, Health: []Verdict{}}
	fleet := health.NewFleet(health.Config{})
	for _, s := range page.Samples {
		w := fleet.Add(s.Device) // a type of its own: one sample is no comparison
		if d, ok := find(page.Devices, s.Device); ok {
			w.Describe(d)
		}
		w.Sample(0, s)
		j := w.Judge(0)
		l.Health = append(l.Health, Verdict{s.Device, j.State.String(), j.Action.String(), j.Slowdown, j.Evidence})
	}
	return l, nil
}

func find(devices []device.Device, id string) (device.Device, bool) {
	for _, d := range devices {
		if d.ID == id {
			return d, true
		}
	}
	return device.Device{}, false
}

// JSON prints the listing as one JSON object.
func (l Listing) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(l)
}

// Text prints a line for each device, then what is missing.
func (l Listing) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tNAME\tSTATE\tUTIL\tMEMORY\tTEMP\tPOWER\tCLOCK\tNOTES")
	for i, s := range l.Samples {
		d, _ := find(l.Devices, s.Device)
		v := l.Health[i]
		var clock string
		switch {
		case s.SMClockMHz.Known && d.SMClockMaxMHz.Known:
			clock = fmt.Sprintf("%.0f/%.0f MHz", s.SMClockMHz.Value, d.SMClockMaxMHz.Value)
		case s.Load != nil:
			clock = show(s.Load.MHz, "%.0f MHz", 1)
		default:
			clock = show(s.SMClockMHz, "%.0f MHz", 1)
		}
		memory := show(s.MemoryUsed, "%.1f", 1.0/(1<<30))
		if d.MemoryBytes > 0 {
			memory += fmt.Sprintf("/%.1f GiB", float64(d.MemoryBytes)/(1<<30))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", label(d, s), d.Name, v.State, show(s.Utilisation, "%.0f %%", 100), memory,
			show(s.TemperatureC, "%.0f °C", 1), show(s.PowerW, "%.0f W", 1), clock, strings.Join(notes(d, s, v), "; "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(l.Samples) == 0 {
		fmt.Fprintln(w, "no devices")
	}
	for _, m := range l.Missing {
		if _, err := fmt.Fprintln(w, m); err != nil {
			return err
		}
	}
	return nil
}

// label is how a line begins: gpu0, gpu1/mig3, or the processors' host.
func label(d device.Device, s device.Sample) string {
	switch d.Kind {
	case device.GPU:
		return fmt.Sprintf("gpu%d %s", d.Index, d.ID)
	case device.MIG:
		return fmt.Sprintf("  mig%d %s", d.Index, d.ID)
	}
	return s.Device
}

func show(n device.Number, format string, scale float64) string {
	if !n.Known {
		return "-"
	}
	return fmt.Sprintf(format, n.Value*scale)
}

// notes are what does not fit a column.
func notes(d device.Device, s device.Sample, v Verdict) []string {
	var out []string
	if s.Detail != "" {
		out = append(out, s.Detail)
	}
	out = append(out, v.Evidence...)
	if v.Action != health.None.String() {
		out = append(out, "recommended: "+v.Action)
	}
	if t := s.Throttle &^ device.Idle; t != 0 {
		out = append(out, "clocks held by "+t.String())
	}
	if c := d.Cores; c != nil {
		text := fmt.Sprintf("%d processors", c.Logical)
		if c.LimitCores.Known {
			text += fmt.Sprintf(", %.3g allowed", c.LimitCores.Value)
		}
		if len(c.Features) > 0 {
			text += ": " + strings.Join(c.Features, " ")
		}
		out = append(out, text)
	}
	if len(s.Missing) > 0 {
		out = append(out, "not told: "+strings.Join(s.Missing, ", "))
	}
	return out
}
