package health

import (
	"math"
	"slices"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

// Fleet is all workers of a pool. It is not safe for concurrent use.
type Fleet struct {
	cfg   Config
	types []fleetType
}

type fleetType struct {
	name  string
	peers *peers
}

// repeats is how near two samples are the same one, handed over twice.
const repeats = 10 * time.Millisecond

// NewFleet returns an empty fleet.
func NewFleet(cfg Config) *Fleet { return &Fleet{cfg: cfg.withDefaults()} }

// Add adds a worker of a type, which is compared with the others of its type.
func (f *Fleet) Add(typ string) *Worker {
	var p *peers
	for _, t := range f.types {
		if t.name == typ {
			p = t.peers
		}
	}
	if p == nil {
		p = &peers{}
		f.types = append(f.types, fleetType{typ, p})
	}
	w := &Worker{cfg: f.cfg, peers: p, me: newMember(), der: newDerating()}
	p.members = append(p.members, w.me)
	return w
}

// Remove takes a worker out of the comparison. It must not be used any more.
func (f *Fleet) Remove(w *Worker) {
	w.peers.members = slices.DeleteFunc(w.peers.members, func(m *member) bool { return m == w.me })
}

// Worker is what is known of one worker's health.
type Worker struct {
	cfg   Config
	peers *peers
	me    *member
	der   derating
	top   device.Number // the highest SM clock, MHz

	last     device.Sample // that answered
	seen     bool          // last is one
	expected bool          // some are to come
	news     mono.Time     // when last was made
	access   device.Access // how asking ended last
	why      string        // Sample.Detail

	fault  fault
	faults int       // so far
	lifted mono.Time // when the last one ended
	back   bool      // it comes back: see Judgement.Ramp

	xid        uint64 // Seq of the last seen
	hint       string // of the last XID that makes suspect
	hintAction Action
	hinted     bool
	hintUntil  mono.Time

	state State
	since mono.Time
}

// Describe tells what the worker runs on.
func (w *Worker) Describe(d device.Device) { w.top = d.SMClockMaxMHz }

// Expect tells that samples are to come from now on: that none does counts as
// much as that they stop.
func (w *Worker) Expect(now mono.Time) {
	if !w.seen {
		w.expected, w.news = true, now
	}
}

// Sample takes a sample of what the worker runs on, handed over at now.
func (w *Worker) Sample(now mono.Time, s device.Sample) {
	found := w.report(now, s)
	was := w.access
	w.access, w.why = s.Access, s.Detail
	switch s.Access {
	case device.Reachable:
		if was == device.Lost || was == device.ResetRequired {
			w.fault.renewed = true // only a reset or a restart ends these
		}
	case device.Lost:
		w.raise(now, Gone, Restart, "the GPU is lost: "+s.Detail, false)
		w.news = now
		return
	case device.ResetRequired:
		w.raise(now, Unhealthy, Restart, s.Detail, false)
		w.news = now
		return
	default:
		return
	}
	made := now - mono.Time(min(s.Age, time.Duration(math.MaxInt64/2)))
	if w.seen && made.Sub(w.news) < repeats {
		return // nothing new
	}
	found = w.examine(now, s) || found
	slow := w.der.on
	w.der.sample(now, s, w.top, w.cfg)
	if slow && !w.der.on {
		w.me.res.clear() // what it was slow by is explained, and over
	}
	w.me.hw.sample(now, s)
	w.peers.compare(w.me)
	w.last, w.seen, w.news = s, true, made
	if !found {
		w.settle(now)
	}
}

// Batch notes that a batch took what it took, where the type's profile, not
// derated, expected another time.
func (w *Worker) Batch(took, expected time.Duration) {
	if took <= 0 || expected <= 0 {
		return
	}
	over := w.peers.batch(w.me, math.Log(float64(took)/float64(expected)), w.der.on)
	w.der.batch(over)
}

// Restarted tells that the worker or its hardware was restarted or reset, or
// that somebody vouches for it: a fault ends once samples are clean, and is
// raised again if they are not.
func (w *Worker) Restarted() {
	w.fault.renewed, w.fault.clean = true, 0
	w.me.res.clear()
	w.hinted = false
}
