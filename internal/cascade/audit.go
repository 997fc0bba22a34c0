package cascade

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
)

// lowest is the priority of audits: below all that clients may give.
const lowest = math.MaxInt32

// audit runs rows of a request on the reference in the background, and tells
// the controller what came of it. The request is not touched after it returns.
func (c *Cascade) audit(req *oip.Request, rows []int, batched bool, outcomes []earlyexit.Outcome) {
	sub, err := c.request(c.last, req, rows, batched)
	if err != nil {
		c.complain(c.last, err)
		c.lose(outcomes)
		return
	}
	due := time.Now().Add(c.audits.cfg.Timeout)
	run := func(ctx context.Context) { c.runAudit(ctx, sub, due, batched, outcomes) }
	if !c.audits.start(run) {
		c.lose(outcomes)
	}
}

func (c *Cascade) runAudit(ctx context.Context, sub *live.Request, due time.Time, batched bool, outcomes []earlyexit.Outcome) {
	ctx, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	sub.Priority, sub.Timeout = lowest, time.Until(due)
	if ctx.Err() != nil || sub.Timeout <= 0 || c.cfg.Loop.DoContext(ctx, sub) != nil {
		c.lose(outcomes)
		return
	}
	a, err := c.read(c.last, sub, len(outcomes), batched)
	if err != nil {
		c.complain(c.last, err)
		c.lose(outcomes)
		return
	}
	c.learn(&a.form)
	for i := range outcomes {
		compare(&outcomes[i], int32(top(a.values[i])))
	}
	c.cfg.Gate.Learn(outcomes)
}

// lose tells the controller that rows were to run to the end and did not.
func (c *Cascade) lose(outcomes []earlyexit.Outcome) {
	for i := range outcomes {
		outcomes[i].Lost = true
	}
	c.cfg.Gate.Learn(outcomes)
}

// compare fills in an outcome from the reference's class. Where that is
// unknown, nothing was learned.
func compare(o *earlyexit.Outcome, class int32) {
	if class < 0 {
		o.Lost = true
		return
	}
	o.Ran, o.Class = true, class
	for k, s := range o.Signals {
		if s.Class == class {
			o.Agree |= 1 << k
		}
	}
}

// auditor runs functions in the background: a bounded number at once, and a
// bounded number that wait.
type auditor struct {
	cfg     Audits
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup // of what runs
	dropped atomic.Uint64
	mu      struct {
		sync.Mutex
		running int
		queue   []func(context.Context)
		closed  bool
	}
}

func (a *auditor) init(cfg Audits) {
	if cfg.Most == 0 {
		cfg.Most = 2
	}
	if cfg.Queue == 0 {
		cfg.Queue = 64
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	a.cfg = cfg
	a.ctx, a.cancel = context.WithCancel(context.Background())
}

// start runs f, at once or later. It reports false where there is no room: f is
// not called then, else once.
func (a *auditor) start(f func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.mu.closed || a.mu.running == a.cfg.Most && len(a.mu.queue) >= a.cfg.Queue:
		a.dropped.Add(1)
		return false
	case a.mu.running == a.cfg.Most:
		a.mu.queue = append(a.mu.queue, f)
	default:
		a.mu.running++
		a.done.Go(func() { a.run(f) })
	}
	return true
}

// run calls f and then what waits, until nothing does.
func (a *auditor) run(f func(context.Context)) {
	for f != nil {
		f(a.ctx)
		f = a.next()
	}
}

func (a *auditor) next() func(context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.mu.queue) == 0 {
		a.mu.running--
		return nil
	}
	f := a.mu.queue[0]
	a.mu.queue[0] = nil
	a.mu.queue = a.mu.queue[1:]
	return f
}

// close waits for what was started, and cancels it when ctx ends first.
func (a *auditor) close(ctx context.Context) error {
	a.mu.Lock()
	a.mu.closed = true
	a.mu.Unlock()
	defer a.cancel()
	defer a.done.Wait()
	defer context.AfterFunc(ctx, a.cancel)()
	a.done.Wait()
	return ctx.Err()
}
