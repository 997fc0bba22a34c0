package device

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Entry is a line of a recording: a device as it becomes known, or a sample
// as it was taken.
type Entry struct {
	Seconds float64 `json:"at_s"` // since the recording began
	Device  *Device `json:"device,omitempty"`
	Sample  *Sample `json:"sample,omitempty"`
}

// Recording is samples in order of time, for tests and simulation.
type Recording struct {
	entries []Entry
	devices []Device
}

// The bounds of a recording.
const (
	maxLine    = 1 << 20
	maxEntries = 10_000_000
)

// ReadRecording reads a recording: JSON lines, in order of time, empty lines
// aside; a sample only of a device that was named before.
func ReadRecording(name string, r io.Reader) (*Recording, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	rec := &Recording{}
	known := map[string]bool{}
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("cannot read %s: line %d: %w", name, n, err)
		}
		if err := rec.take(e, known); err != nil {
			return nil, fmt.Errorf("cannot read %s: line %d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return rec, nil
}

func (r *Recording) take(e Entry, known map[string]bool) error {
	switch {
	case (e.Device == nil) == (e.Sample == nil):
		return fmt.Errorf("want a device or a sample")
	case !(e.Seconds >= 0 && e.Seconds < 1e9):
		return fmt.Errorf("at_s: %v; want 0 to a thousand million", e.Seconds)
	case len(r.entries) > 0 && e.Seconds < r.entries[len(r.entries)-1].Seconds:
		return fmt.Errorf("at_s: %v is before the line above", e.Seconds)
	case len(r.entries) >= maxEntries:
		return fmt.Errorf("more than %d lines", maxEntries)
	}
	if e.Device != nil {
		if err := (Page{Devices: []Device{*e.Device}}).check(); err != nil {
			return err
		}
		if known[e.Device.ID] {
			return fmt.Errorf("device %.40q is there already", e.Device.ID)
		}
		known[e.Device.ID] = true
		r.devices = append(r.devices, *e.Device)
	} else {
		if err := e.Sample.Check(); err != nil {
			return err
		}
		if !known[e.Sample.Device] {
			return fmt.Errorf("sample of device %.40q, which was not named before", e.Sample.Device)
		}
	}
	r.entries = append(r.entries, e)
	return nil
}

// Devices are those of the recording, in order of mention.
func (r *Recording) Devices() []Device { return r.devices }

// At is what a source would have said at an instant: the last sample of each
// device, and how old it was then.
func (r *Recording) At(t time.Duration) Page {
	var p Page
	last := map[string]int{} // place in Samples
	for _, e := range r.entries {
		at := time.Duration(e.Seconds * float64(time.Second))
		switch {
		case at > t:
			return p
		case e.Device != nil:
			p.Devices = append(p.Devices, *e.Device)
			continue
		}
		s := *e.Sample
		s.Age += t - at
		if i, ok := last[s.Device]; ok {
			p.Samples[i] = s
			continue
		}
		last[s.Device] = len(p.Samples)
		p.Samples = append(p.Samples, s)
	}
	return p
}
