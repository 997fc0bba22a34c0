package health

import (
	"fmt"
	"math"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

const (
	// rampLeast is the share of its work that a worker starts again with.
	rampLeast = 0.1
	// vague widens the expectation of a worker that something does not fit of.
	vague = 1.5
	// stubbornBatches is after how many batches of an alarm a restart is
	// recommended (or a replacement, of one that was never better), for a worker at least this much slower, and only where
	// peers show that it is not the work: else derating is all that is sure.
	stubbornBatches  = 64
	stubbornSlowdown = 1.5
	stubbornPeers    = 2
	// explained is how far latencies may be over what derating says, as a
	// factor, to be explained by it.
	explained = 1.3
	// maskedBatches is after how many batches latencies that do not show what
	// the clocks say are believed.
	maskedBatches = 16
)

// Judge says how far the worker can be relied on at now.
func (w *Worker) Judge(now mono.Time) Judgement {
	j := Judgement{Slowdown: 1, Uncertainty: 1, Ramp: 1}
	if w.fault.state != OK {
		j.State, j.Action, j.Ramp = w.fault.state, w.fault.action, 0
		j.Evidence = append(j.Evidence, w.fault.texts...)
	}
	w.slowness(&j)
	if w.hinted && now < w.hintUntil {
		j.note(Suspect, w.hintAction, w.hint)
	}
	if w.me.hw.found {
		j.note(Suspect, None, "its hardware differs from its peers' ("+w.me.hw.what+"), its latencies do not say why")
		j.Uncertainty = vague
	}
	if w.access == device.Hung {
		j.note(Suspect, None, "the driver hangs: "+w.why)
		j.Uncertainty = vague
	}
	w.staleness(now, &j)
	w.ramp(now, &j)
	w.remarks(&j)
	if j.State != w.state {
		w.state, w.since = j.State, now
	}
	j.Since = w.since
	return j
}

// note adds a reason; the worst state and the most drastic action count.
func (j *Judgement) note(s State, a Action, text string) {
	j.State, j.Action = max(j.State, s), max(j.Action, a)
	j.Evidence = append(j.Evidence, text)
}

// slowness weighs derating and latencies against each other.
func (w *Worker) slowness(j *Judgement) {
	factor, text := w.der.slowdown()
	a := w.peers.judge(w.me)
	if w.der.on {
		j.Slowdown = factor
		measured, n := w.der.measured()
		switch {
		case n >= maskedBatches && w.der.factor > explained && measured < math.Sqrt(w.der.factor):
			j.Slowdown = measured
			j.note(Derated, None, "its hardware is slowed down and its latencies hardly are: "+text)
		case w.der.vague && n < maskedBatches:
			j.Uncertainty = vague // by how much is not known yet
			j.note(Derated, Derate, text)
		default:
			j.note(Derated, Derate, text)
		}
		if w.der.vague || n < maskedBatches || measured <= explained*w.der.factor {
			return
		}
	}
	if !a.slow {
		return
	}
	j.Slowdown = max(j.Slowdown, a.slowdown)
	action := Derate
	if a.batches >= stubbornBatches && a.slowdown >= stubbornSlowdown && a.peers >= stubbornPeers {
		action = Restart
		if a.born {
			action = Replace
		}
	}
	if a.peers == 0 {
		j.Uncertainty = vague
		a.text += "; whether it or its work has changed cannot be told without peers"
	}
	cause := "its hardware says nothing of it: "
	switch {
	case !w.seen:
		cause = "nothing is known of its hardware: "
	case w.der.on:
		cause = "its clocks explain a part of it: "
	}
	j.note(Suspect, action, cause+a.text)
}

// staleness widens what is expected of a worker that nothing was heard of.
func (w *Worker) staleness(now mono.Time, j *Judgement) {
	if !w.seen && w.access == "" && !w.expected {
		return // no telemetry is configured
	}
	age := now.Sub(w.news)
	if age <= w.cfg.StaleAfter {
		return
	}
	j.Stale = true
	over := float64(age-w.cfg.StaleAfter) / float64(5*w.cfg.StaleAfter)
	j.Uncertainty = max(j.Uncertainty, 1+min(1, over))
	text := fmt.Sprintf("nothing was heard of its hardware for %v", age.Round(time.Second))
	if w.access != device.Reachable && w.access != "" {
		text += fmt.Sprintf(" (%s: %s)", w.access, w.why)
	}
	j.Evidence = append(j.Evidence, text)
}

// remarks adds what is worth knowing and changes nothing.
func (w *Worker) remarks(j *Judgement) {
	if !w.seen {
		return
	}
	s := w.last
	for _, r := range []struct {
		so   bool
		text string
	}{
		{s.Rows.Pending, "a remapped memory row waits for a reset"},
		{s.Pages.Pending, "a retired memory page waits for a restart"},
		{s.ECC.VolatileUncorrected.Value > 0 && w.fault.state == OK, fmt.Sprintf("%.0f uncorrectable memory errors since the driver was loaded", s.ECC.VolatileUncorrected.Value)},
	} {
		if r.so {
			j.Evidence = append(j.Evidence, r.text)
		}
	}
}

// ramp gives a worker that comes back its work bit by bit.
func (w *Worker) ramp(now mono.Time, j *Judgement) {
	if !w.back || w.fault.state != OK {
		return
	}
	part := float64(now.Sub(w.lifted)) / float64(w.cfg.SlowStart)
	if part >= 1 {
		w.back = false
		return
	}
	j.Ramp = rampLeast + (1-rampLeast)*part
	j.note(Suspect, None, fmt.Sprintf("it comes back: its fault ended %v ago", now.Sub(w.lifted).Round(time.Second)))
}
