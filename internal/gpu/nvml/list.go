//go:build cgo && linux

package nvml

import (
	"context"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// anySlice marks what is of a whole GPU.
const anySlice = -1

// drainMost bounds how many XIDs one read takes: a GPU that reports without
// end must not keep the others waiting.
const drainMost = 64

// listing is the driver's list of GPUs.
type listing struct {
	found []found
	set   nvml.EventSet // nil: this driver reports no XIDs
	err   error
}

type found struct {
	index  int
	handle nvml.Device
	uuid   string
	ret    nvml.Return
}

// enumerate starts the library if need be and lists the GPUs.
func enumerate(l *library) listing {
	if err := l.start(); err != nil {
		return listing{err: err}
	}
	n, ret := l.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return listing{err: errorOf(ret)}
	}
	var out listing
	for i := range n {
		f := found{index: i}
		if f.handle, f.ret = l.DeviceGetHandleByIndex(i); f.ret == nvml.SUCCESS {
			f.uuid, f.ret = f.handle.GetUUID()
		}
		out.found = append(out.found, f)
		if f.ret == nvml.SUCCESS {
			l.watch(f.handle, f.uuid)
		}
	}
	out.set = l.set
	return out
}

// watch asks for a GPU's XIDs, once.
func (l *library) watch(d nvml.Device, uuid string) {
	if l.watched[uuid] || !l.has("nvmlEventSetCreate") || !l.has("nvmlDeviceRegisterEvents") || !l.has("nvmlEventSetWait") {
		return
	}
	if l.set == nil {
		set, ret := l.EventSetCreate()
		if ret != nvml.SUCCESS {
			return
		}
		l.set, l.watched = set, map[string]bool{}
	}
	// A GPU that cannot report is not asked again either.
	l.watched[uuid] = true
	d.RegisterEvents(nvml.EventTypeXidCriticalError, l.set)
}

// event is an XID as the driver hands it over.
type event struct {
	handle nvml.Device
	code   int
	slice  int
}

// drain takes the XIDs that are waiting.
func drain(l *library, set nvml.EventSet) []event {
	var events []event
	for range drainMost {
		e, ret := set.Wait(0)
		if ret != nvml.SUCCESS {
			break // with a time-out: there is none
		}
		if e.EventType&nvml.EventTypeXidCriticalError == 0 {
			continue
		}
		slice := anySlice
		if e.GpuInstanceId != math.MaxUint32 {
			slice = int(e.GpuInstanceId)
		}
		events = append(events, event{handle: e.Device, code: int(e.EventData), slice: slice})
	}
	return events
}

// drainLocked gives the waiting XIDs to their GPUs.
func (s *Source) drainLocked(ctx context.Context, set nvml.EventSet) {
	if set == nil {
		return
	}
	events, err := call(ctx, &s.events, s.limit, func() []event { return drain(s.lib, set) })
	if err != nil {
		return // they stay in the driver's queue
	}
	now := time.Now()
	for _, e := range events {
		s.mu.seq++
		x := timed{xid: device.XID{Seq: s.mu.seq, Code: e.code}, slice: e.slice, at: now}
		for _, g := range s.mu.gpus {
			if g.handle == e.handle { // a lost GPU would not tell its UUID
				g.xids = append(g.xids, x)
				g.xids = g.xids[max(0, len(g.xids)-keptXIDs):]
			}
		}
	}
}
