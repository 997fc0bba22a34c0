package live

import (
	"log/slog"
	"sync"
	"time"

	"motley/internal/dispatch"
	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/triage"
)

// HealthConfig says how the loop judges its workers. Zero fields take the
// defaults.
type HealthConfig struct {
	Judge health.Config
	Every time.Duration // between two judgements; default 100 ms
	// Telemetry tells how the hardware of each worker does; nil entries, and past
	// the end of a short slice: nobody does, and latencies alone are judged.
	Telemetry []Telemetry
}

// Telemetry is what is heard of one worker's hardware.
type Telemetry interface {
	// Latest returns the device and its last sample, as old as it is by now. fresh
	// is that the sample is another than the last time; err why the last attempt to
	// get one failed, or that there is none. It must not block.
	Latest() (d device.Device, s device.Sample, fresh bool, err error)
	String() string // where it comes from
}

// defaultEvery is how often workers are judged: often enough to find a straggler
// among its next few batches, and 40 µs a second for ten workers.
const defaultEvery = 100 * time.Millisecond

// mostShare is the inverse of the share of a processor that judging may take:
// workers of one type are compared with each other, a thousand of them in 25 ms.
const mostShare = 20

// clinic judges the workers in the background. What batches took is left with it
// under the loop's lock, and costs an entry of a slice there.
type clinic struct {
	loop  *Loop
	cfg   HealthConfig
	ended []endedBatch // guarded by Loop.mu

	mu struct { // taken before Loop.mu
		sync.Mutex
		ward    *triage.Ward
		heard   []heardOf // by worker
		spare   []endedBatch
		changes []triage.Change
	}
}

// heardOf is what is heard of a worker's hardware.
type heardOf struct {
	member *Member // nil: nobody, or one that is gone
	device string  // its ID
	err    error   // of the last attempt
}

// endedBatch is what a batch took and what its type's profile expected.
type endedBatch struct {
	worker         pool.WorkerID
	took, expected time.Duration
}

// mostEnded bounds what waits for a judgement; more is not counted.
const mostEnded = 1 << 16

// newClinic returns nil, which does nothing, where nobody judges.
func newClinic(l *Loop, cfg *HealthConfig) *clinic {
	if cfg == nil {
		return nil
	}
	c := &clinic{loop: l, cfg: *cfg}
	if c.cfg.Every <= 0 {
		c.cfg.Every = defaultEvery
	}
	c.mu.ward = triage.New(cfg.Judge, nil)
	for _, m := range l.table.Load().workers {
		c.joined(m)
	}
	return c
}

// joined has a worker judged from now on.
func (c *clinic) joined(m *Member) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for int(m.id) >= len(c.mu.heard) {
		c.mu.heard = append(c.mu.heard, heardOf{})
	}
	c.mu.heard[m.id] = heardOf{member: m}
	c.mu.ward.Join(m.id, c.loop.table.Load().types[m.Worker.Type].Name)
	if m.Telemetry != nil {
		c.mu.ward.Expect(c.loop.now(), m.id)
	}
}

// left forgets a worker.
func (c *clinic) left(m *Member) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(m.id) < len(c.mu.heard) && c.mu.heard[m.id].member == m {
		c.mu.heard[m.id] = heardOf{}
		c.mu.ward.Leave(m.id)
	}
}

// batchLocked notes a batch that is about to finish. The loop's lock is held.
func (c *clinic) batchLocked(ev *dispatch.Event, started mono.Time) {
	if c == nil || ev.Kind != dispatch.Finish || len(c.ended) >= mostEnded {
		return
	}
	worker, expected := c.loop.mu.core.Expected(ev.Batch, ev.Stages)
	c.ended = append(c.ended, endedBatch{worker, ev.At.Sub(started), expected})
}

// restarted notes that a worker's server is there again.
func (c *clinic) restarted(m *Member) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(m.id) < len(c.mu.heard) && c.mu.heard[m.id].member == m {
		c.mu.ward.Restarted(m.id)
	}
}

// run judges until the loop closes.
func (c *clinic) run() {
	if c == nil {
		return
	}
	timer := time.NewTimer(c.cfg.Every)
	defer timer.Stop()
	for {
		select {
		case <-c.loop.ctx.Done():
			return
		case <-timer.C:
			began := time.Now()
			c.look()
			timer.Reset(max(c.cfg.Every, mostShare*time.Since(began)))
		}
	}
}

// look takes in what came since the last time, judges, and tells the core.
func (c *clinic) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loop.mu.Lock()
	now, ended := c.loop.now(), c.ended
	c.ended = c.mu.spare[:0]
	c.loop.mu.Unlock()
	for _, b := range ended {
		c.mu.ward.Batch(b.worker, b.took, b.expected)
	}
	c.mu.spare = ended
	for i := range c.mu.heard {
		c.hear(now, &c.mu.heard[i])
	}
	c.mu.changes = c.mu.ward.Judge(now, c.mu.changes[:0])
	for _, ch := range c.mu.changes {
		c.report(now, ch)
		if ch.Told {
			c.loop.inject(dispatch.Event{Kind: dispatch.WorkerHealth, Worker: ch.Worker, Health: ch.Health})
		}
	}
}

// hear takes in what telemetry has of a worker.
func (c *clinic) hear(now mono.Time, h *heardOf) {
	m := h.member
	if m == nil || m.Telemetry == nil {
		return
	}
	d, s, fresh, err := m.Telemetry.Latest()
	h.err = err
	if !fresh {
		return
	}
	if d.ID != h.device {
		h.device = d.ID
		c.mu.ward.Describe(m.id, d)
		c.loop.log.Info("worker runs on", "worker", m.Worker.Name, "device", d.ID, "name", d.Name, "telemetry", m.Telemetry.String())
	}
	c.mu.ward.Sample(now, m.id, s)
}

// report logs a change of a worker's state, or that its telemetry has stopped.
func (c *clinic) report(now mono.Time, ch triage.Change) {
	r := c.mu.ward.Report(now, ch.Worker)
	if r.State == ch.Was && r.Stale == ch.WasStale && r.Action == ch.WasAction {
		return
	}
	level := slog.LevelWarn
	if r.State == health.OK && !r.Stale {
		level = slog.LevelInfo
	}
	evidence := r.Evidence
	h := &c.mu.heard[ch.Worker]
	if err := h.err; err != nil {
		evidence = append(evidence[:len(evidence):len(evidence)], "telemetry: "+err.Error())
	}
	c.loop.log.Log(c.loop.ctx, level, "worker's health", "worker", h.member.Worker.Name, "state", r.State.String(), "was", ch.Was.String(),
		"slowdown", round(r.Slowdown), "uncertainty", round(r.Uncertainty), "stale", r.Stale, "recommended", r.Action.String(), "evidence", evidence)
}

// round is for people: two digits behind the point.
func round(x float64) float64 { return float64(int64(x*100+0.5)) / 100 }
