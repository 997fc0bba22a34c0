package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"motley/internal/gpu/device"
)

// Reader follows one device of a polled source. It is safe for concurrent use.
type Reader struct {
	poller *Poller
	want   string // see NewReader
	name   string
	// Standing is that the source names the last XID for good, as exporters do: one
	// that is there at the first look may be long over, and is passed over. Set it
	// before the first call.
	Standing bool
	mu       struct {
		sync.Mutex
		reads  int // of the poller when it was asked last
		device device.Device
		sample device.Sample
		at     time.Time // when sample was made
		err    error
		begun  bool   // a sample was read
		old    uint64 // Seq of the last XID that is passed over
	}
}

// NewReader returns a reader of the device that want names: an ID, the index of
// a GPU, "cpu" for a host's processors, or empty for the only GPU, or the only
// device, that there is. name says where it comes from.
func NewReader(p *Poller, want, name string) *Reader {
	r := &Reader{poller: p, want: want, name: name}
	r.mu.err = errNone
	return r
}

// String says where samples come from.
func (r *Reader) String() string { return r.name }

// Latest returns the device and its last sample, as old as it is by now. fresh is
// that it was read since the last call; err why the last read failed, or has
// nothing of the device.
func (r *Reader) Latest() (d device.Device, s device.Sample, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reads, _ := r.poller.Counts(); reads != r.mu.reads {
		r.mu.reads = reads
		fresh = r.take()
	}
	s = r.mu.sample
	s.Age = time.Since(r.mu.at)
	return r.mu.device, s, fresh, r.mu.err
}

// take reads the poller's page, and reports whether it has news of the device.
func (r *Reader) take() bool {
	page, failed := r.poller.Latest()
	d, err := pick(page.Devices, r.want)
	if r.mu.err = failed; failed != nil {
		return false
	}
	if r.mu.err = err; err != nil {
		return false
	}
	s, ok := sampleOf(page.Samples, d.ID)
	if !ok {
		r.mu.err = fmt.Errorf("there is no sample of %.60s, or but old ones", d.ID)
		return false
	}
	if n := len(s.XIDs); r.Standing && !r.mu.begun && n > 0 {
		r.mu.old = s.XIDs[n-1].Seq
	}
	r.mu.begun = true
	s.XIDs = slices.DeleteFunc(slices.Clone(s.XIDs), func(x device.XID) bool { return x.Seq <= r.mu.old })
	r.mu.device, r.mu.sample, r.mu.at = d, s, time.Now().Add(-s.Age)
	return true
}

func sampleOf(all []device.Sample, id string) (device.Sample, bool) {
	for _, s := range all {
		if s.Device == id {
			return s, true
		}
	}
	return device.Sample{}, false
}

// pick finds the device that want names.
func pick(all []device.Device, want string) (device.Device, error) {
	index, notIndex := strconv.Atoi(want)
	var found []device.Device
	for _, d := range all {
		switch {
		case d.ID == want && want != "":
			return d, nil
		case want == "cpu" && d.Kind == device.CPU, want == "" && d.Kind != device.CPU, notIndex == nil && d.Kind == device.GPU && d.Index == index:
			found = append(found, d)
		}
	}
	if want == "" && len(found) == 0 {
		found = all
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return device.Device{}, fmt.Errorf("there is no device %q among %d", want, len(all))
	}
	return device.Device{}, fmt.Errorf("there are %d devices that %q may mean: name one by its ID", len(found), want)
}
