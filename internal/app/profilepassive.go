package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"motley/internal/backend"
	"motley/internal/config"
	"motley/internal/oip"
	"motley/internal/profiler"
)

// ProfilePassively reads latencies by batch size off what the remote workers
// count of the batches that they run anyway, for opt.Budget, every opt.Every, and
// writes them as Profile does. Nothing is sent but requests for statistics.
func ProfilePassively(ctx context.Context, cfg *config.Config, opt ProfileOptions, w io.Writer) (err error) {
	own, err := narrowed(cfg, opt)
	if err != nil {
		return fmt.Errorf("cannot profile: %w", err)
	}
	p, err := build(own, opt.Log)
	if err != nil {
		return fmt.Errorf("cannot profile: %w", err)
	}
	defer func() { err = errors.Join(err, p.closeAll()) }()
	var all []*watching
	for _, g := range p.groups(own, opt) {
		x := &watching{group: g, watch: profiler.NewWatch()}
		for _, t := range g.targets {
			if r, ok := t.Backend.(statistician); ok {
				x.servers, x.names = append(x.servers, r), append(x.names, t.Worker)
			}
		}
		all = append(all, x)
	}
	began := time.Now()
	polls := pollAll(ctx, all, opt)
	var done []measured
	for _, x := range all {
		done = append(done, x.result(time.Since(began), polls))
	}
	return report(done, opt, w)
}

// statistician is a worker that counts its batches.
type statistician interface {
	Stats(ctx context.Context, model string) ([]oip.ModelStats, error)
}

var _ statistician = (*backend.Remote)(nil)

// watching is a group whose workers are watched.
type watching struct {
	group
	servers []statistician
	names   []string
	watch   *profiler.Watch
	fault   error // the last poll that went wrong
}

// pollAll asks every worker until the budget is spent or ctx ends, and returns how
// often.
func pollAll(ctx context.Context, all []*watching, opt ProfileOptions) int {
	ends := time.Now().Add(opt.Budget)
	tick := time.NewTicker(opt.Every)
	defer tick.Stop()
	for poll := 0; ; poll++ {
		var wg sync.WaitGroup
		for _, x := range all {
			wg.Go(func() { x.poll(ctx, poll) })
		}
		wg.Wait()
		left := time.Until(ends)
		if left <= 0 {
			return poll + 1
		}
		last := time.NewTimer(left) // the last interval may be a shorter one
		select {
		case <-ctx.Done():
			last.Stop()
			return poll + 1
		case <-tick.C:
		case <-last.C:
		}
		last.Stop()
	}
}

func (x *watching) poll(ctx context.Context, poll int) {
	for i, s := range x.servers {
		stats, err := s.Stats(ctx, x.model)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			x.fault = fmt.Errorf("worker %s: %w", x.names[i], err)
		default:
			x.watch.Add(x.names[i], poll, stats)
		}
	}
}

func (x *watching) result(took time.Duration, polls int) measured {
	t := x.targets[0]
	if len(x.servers) == 0 {
		err := fmt.Errorf("%s on %s: worker %s is not a remote server, which would count its batches: measure it, without -passive", x.model, x.instanceType, t.Worker)
		r := profiler.Told(x.model, x.instanceType, profiler.Passive, "nothing", nil)
		return measured{[]profiler.Result{r}, r, err}
	}
	r := x.watch.Result(t, strings.Join(x.names, ", "), took)
	if x.fault != nil && len(r.Sizes) == 0 {
		r.Err = x.fault
	} else if x.fault != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("a poll went wrong, the last time so: %v", x.fault))
	}
	r.Ended = fmt.Sprintf("after %d polls", polls)
	m := measured{results: []profiler.Result{r}, pooled: r}
	if r.Err != nil {
		m.err = fmt.Errorf("%s on %s: %w", x.model, x.instanceType, r.Err)
	}
	return m
}
