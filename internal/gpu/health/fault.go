package health

import (
	"fmt"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

// fault is what takes a worker out: it stays until there is reason to believe
// that it is gone.
type fault struct {
	state   State // Unhealthy or Gone; OK: no fault
	action  Action
	texts   []string
	at      mono.Time // of the last reason
	clean   int       // samples in a row without a reason
	renewed bool      // a reset or a restart was seen since
	heals   bool      // may end without one: errors that the driver has dealt with
}

// healsAfter is how many times Hold a fault that may end by itself must be
// without a new reason.
const healsAfter = 6

// raise adds a reason. The worst state and the most drastic action count.
func (w *Worker) raise(now mono.Time, s State, a Action, text string, heals bool) {
	f := &w.fault
	if f.state == OK {
		*f = fault{heals: true}
		if w.faults > 0 && now.Sub(w.lifted) < w.cfg.Recur {
			f.action, f.texts = Replace, []string{"it is not the first fault within " + w.cfg.Recur.String()}
		}
		w.faults++
	}
	f.state, f.action = max(f.state, s), max(f.action, a)
	f.heals = f.heals && heals
	f.at, f.clean, f.renewed = now, 0, false
	for _, t := range f.texts {
		if t == text {
			return
		}
	}
	if len(f.texts) < 8 {
		f.texts = append(f.texts, text)
	}
}

// settle ends a fault when it may end.
func (w *Worker) settle(now mono.Time) {
	f := &w.fault
	if f.state == OK {
		return
	}
	f.clean++
	quiet := now.Sub(f.at)
	if f.clean < w.cfg.Clean || quiet < w.cfg.Hold {
		return
	}
	if f.renewed || f.heals && quiet >= healsAfter*w.cfg.Hold {
		*f = fault{}
		w.lifted, w.back = now, true
	}
}

// examine looks for faults in a sample of a device that answers, and reports
// whether it found one.
func (w *Worker) examine(now mono.Time, s device.Sample) (found bool) {
	before := w.fault.at
	raise := func(state State, a Action, text string, heals bool) {
		found = true
		w.raise(now, state, a, text, heals)
	}
	if s.Rows.Failed {
		raise(Unhealthy, Replace, "a memory row could not be remapped: no spare row is left", false)
	}
	switch s.Recovery {
	case device.RecoverReset, device.RecoverDrainAll:
		raise(Unhealthy, Restart, "the driver asks for a reset of the GPU", false)
	case device.RecoverReboot:
		raise(Unhealthy, Restart, "the driver asks for a restart of the machine", false)
	case device.RecoverDrain, device.RecoverOther:
		raise(Unhealthy, Drain, "the driver asks for "+string(s.Recovery), false)
	}
	if !w.seen {
		return found
	}
	old := w.last
	if rise := s.ECC.VolatileUncorrected.Value - old.ECC.VolatileUncorrected.Value; s.ECC.VolatileUncorrected.Known && old.ECC.VolatileUncorrected.Known && rise > 0 {
		raise(Unhealthy, Restart, fmt.Sprintf("%.0f uncorrectable memory errors, new", rise), s.Recovery == device.RecoverNone)
	}
	if fell(old.ECC.VolatileUncorrected, s.ECC.VolatileUncorrected) || fell(old.ECC.VolatileCorrected, s.ECC.VolatileCorrected) ||
		fell(old.PCIeReplay, s.PCIeReplay) || s.Recovery == device.RecoverNone && old.Recovery != device.RecoverNone && old.Recovery != "" {
		if w.fault.at == before { // counters start anew with the driver
			w.fault.renewed = true
		}
	}
	return found
}

func fell(old, now device.Number) bool { return old.Known && now.Known && now.Value < old.Value }

// report takes the XIDs that a sample carries and that were not seen yet.
func (w *Worker) report(now mono.Time, s device.Sample) (fatal bool) {
	if n := len(s.XIDs); n > 0 && s.XIDs[n-1].Seq < w.xid {
		w.xid = 0 // whoever counts them has started anew
	}
	for _, x := range s.XIDs {
		if x.Seq <= w.xid {
			continue
		}
		w.xid = x.Seq
		switch state, action, text := lookup(x.Code).verdict(); {
		case state >= Unhealthy:
			fatal = true
			w.raise(now, state, action, text, false)
		case state == Suspect:
			w.hint, w.hintAction, w.hinted, w.hintUntil = text, action, true, now.Add(w.cfg.Remember)
		}
	}
	return fatal
}
