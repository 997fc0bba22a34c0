//go:build cgo && linux

package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// keptXIDs is how many of a GPU's latest XIDs a sample carries.
const keptXIDs = 16

// Source asks the driver of this host. It is safe for concurrent use; reads
// take turns.
type Source struct {
	lib   *library
	limit time.Duration

	list   guard // the list of GPUs
	events guard // the queue of XIDs

	mu struct {
		sync.Mutex
		gpus []*gpu // in order of first sight; a GPU once seen stays listed
		seq  uint64
	}
}

// gpu is one that was seen. Only Read touches it: what is asked of the driver
// comes back as a value, so that a call left behind cannot write into it.
type gpu struct {
	guard  guard
	handle nvml.Device
	listed bool
	ret    nvml.Return // of its being listed
	known  []device.Device
	xids   []timed
}

type timed struct {
	xid   device.XID
	slice int // GPU instance; anySlice: of the whole GPU
	at    time.Time
}

// New returns a source. Nothing is loaded before the first Read.
func New(opt Options) *Source {
	if opt.Limit <= 0 {
		opt.Limit = DefaultLimit
	}
	return &Source{lib: newLibrary(opt.Library), limit: opt.Limit}
}

// Read lists the GPUs and their slices and samples each. It fails only when
// there is no driver to ask (ErrUnavailable) or ctx ends; whatever else goes
// wrong is said in the samples, or in Missing. It takes at most three times
// the limit.
func (s *Source) Read(ctx context.Context) (device.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var page device.Page
	l, err := call(ctx, &s.list, s.limit, func() listing { return enumerate(s.lib) })
	switch {
	case errors.Is(err, errHung) && len(s.mu.gpus) == 0:
		return page, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case ctx.Err() != nil:
		return page, ctx.Err()
	case err != nil:
		page.Missing = append(page.Missing, "the list of GPUs: "+err.Error())
	case l.err != nil && len(s.mu.gpus) == 0:
		return page, l.err
	case l.err != nil:
		page.Missing = append(page.Missing, "the list of GPUs: "+l.err.Error())
	default:
		page.Missing = append(page.Missing, s.noteLocked(l)...)
		s.drainLocked(ctx, l.set)
	}
	for _, a := range s.sampleLocked(ctx) {
		page.Devices = append(page.Devices, a.devices...)
		page.Samples = append(page.Samples, a.samples...)
	}
	return page, ctx.Err()
}

// Hung is how many calls have not come back from the driver.
func (s *Source) Hung() int {
	n := 0
	for _, g := range []*guard{&s.list, &s.events} {
		if g.hung() {
			n++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.mu.gpus {
		if g.guard.hung() {
			n++
		}
	}
	return n
}

// noteLocked takes over a list. GPUs that it lacks are lost.
func (s *Source) noteLocked(l listing) (missing []string) {
	for _, g := range s.mu.gpus {
		g.listed = false
	}
	for _, f := range l.found {
		g := s.findLocked(f)
		switch {
		case g != nil:
		case f.uuid == "":
			missing = append(missing, fmt.Sprintf("GPU %d: %s", f.index, explain(f.ret)))
			continue
		default:
			g = &gpu{known: []device.Device{{ID: f.uuid, Kind: device.GPU, Index: f.index}}}
			s.mu.gpus = append(s.mu.gpus, g)
		}
		g.listed, g.ret = true, f.ret
		if f.ret == nvml.SUCCESS {
			g.handle = f.handle
		}
	}
	return missing
}

// findLocked finds a GPU by its UUID or, where the driver does not tell that of
// a lost one, by its index.
func (s *Source) findLocked(f found) *gpu {
	for _, g := range s.mu.gpus {
		if f.uuid != "" && g.known[0].ID == f.uuid || f.uuid == "" && g.known[0].Index == f.index {
			return g
		}
	}
	return nil
}

// sampleLocked asks every GPU at the same time, each within the limit.
func (s *Source) sampleLocked(ctx context.Context) []answer {
	answers := make([]answer, len(s.mu.gpus))
	var wg sync.WaitGroup
	for i, g := range s.mu.gpus {
		switch {
		case !g.listed:
			answers[i] = g.without(device.Lost, "the driver no longer lists it")
			continue
		case g.ret != nvml.SUCCESS:
			answers[i] = g.without(access(g.ret), explain(g.ret))
			continue
		}
		wg.Go(func() {
			handle, known := g.handle, g.known
			a, err := call(ctx, &g.guard, s.limit, func() answer { return look(s.lib, handle, known) })
			switch {
			case errors.Is(err, errHung):
				a = g.without(device.Hung, err.Error())
			case err != nil:
				a = g.without(device.Failed, err.Error())
			case a.ret != nvml.SUCCESS:
				a = g.without(access(a.ret), explain(a.ret))
			}
			answers[i] = a
		})
	}
	wg.Wait()
	for i, g := range s.mu.gpus {
		g.known = answers[i].devices
		g.attach(&answers[i])
	}
	return answers
}

// without is what can be said of a GPU and its slices that does not answer.
func (g *gpu) without(a device.Access, why string) answer {
	out := answer{devices: g.known}
	for _, d := range g.known {
		out.samples = append(out.samples, device.Sample{Device: d.ID, Access: a, Detail: why})
	}
	return out
}

// attach gives every sample the XIDs of its device: a slice's its own and
// those of the whole GPU.
func (g *gpu) attach(a *answer) {
	for i := range a.samples {
		slice := anySlice
		if d := a.devices[i]; d.Slice != nil {
			slice = d.Slice.GPUInstance
		}
		for _, x := range g.xids {
			if slice == anySlice || x.slice == anySlice || x.slice == slice {
				x.xid.Age = max(time.Since(x.at), 0)
				a.samples[i].XIDs = append(a.samples[i].XIDs, x.xid)
			}
		}
	}
}
