package backend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/oip"
)

var _ Staged = (*Embedded)(nil)

// Exits implements Staged. Depth is by multiply-adds. Costs are there once the
// model was probed: the first probe measures them, which takes 0.4 s.
func (b *Embedded) Exits(model string) *Exits {
	if p := b.exits[model]; p != nil {
		return p.Load()
	}
	return nil
}

// exitsOf describes a staged model, without its costs; nil where it has no
// ramps.
func exitsOf(m engine.Model) *Exits {
	staged, ok := m.(engine.Staged)
	if !ok || staged.Stages() < 2 || staged.Stages()-1 > earlyexit.MaxRamps {
		return nil
	}
	x := &Exits{Ramps: staged.Stages() - 1, Classes: staged.Classes()}
	var sum int64
	var until []int64
	for _, w := range staged.Work() {
		sum += w.Trunk
		until = append(until, sum)
	}
	for _, u := range until[:x.Ramps] {
		x.Depth = append(x.Depth, float64(u)/float64(sum))
	}
	return x
}

// measure adds the costs, in seconds. A failure leaves them unknown: requests
// will show what is wrong with the model.
func (b *Embedded) measure(model string) {
	p := b.exits[model]
	if p == nil || len(p.Load().Costs) > 0 {
		return
	}
	timings, err := b.models[model].(engine.Staged).Timings()
	if err != nil {
		return
	}
	x := *p.Load()
	x.Costs = nil
	reading := readingCost(x.Classes)
	for _, t := range timings {
		c := earlyexit.Cost{Batch: t.Batch}
		var sum time.Duration
		for k := range x.Ramps {
			sum += t.Trunk[k]
			c.Until = append(c.Until, sum.Seconds())
			c.Ramp = append(c.Ramp, t.Ramp[k].Seconds()+reading*float64(t.Batch))
		}
		if c.Whole = (sum + t.Trunk[x.Ramps]).Seconds(); c.Whole > 0 { // a clock that stands still measures nothing
			x.Costs = append(x.Costs, c)
		}
	}
	p.Store(&x)
}

// readingCost is what making a signal of a ramp's probabilities takes for one
// row, in seconds: the shortest of a few tries.
func readingCost(classes int) float64 {
	const tries, rows = 5, 500
	p := make([]float32, classes)
	for i := range p {
		p[i] = 1 / float32(classes)
	}
	best := time.Duration(math.MaxInt64)
	for range tries {
		begun := time.Now()
		for range rows {
			earlyexit.SignalOf(p)
		}
		best = min(best, time.Since(begun))
	}
	return best.Seconds() / rows
}

// stagedScratch is the memory of one RunStaged.
type stagedScratch struct {
	tally
	members
	info    oip.ResponseInfo
	in      []oip.Tensor
	store   []oip.Tensor // the answers of all rows
	view    []oip.Tensor // one call's part of them
	want    []string
	signals []earlyexit.Signal
	mark    []byte
	one     [1]*oip.Message
	req     [1]*oip.Request
}

// RunStaged implements Staged. It looks at ctx between the stages. A panic of
// the engine fails what was not answered with Server.
func (b *Embedded) RunStaged(ctx context.Context, model string, calls []*Call, w Watcher) error {
	runtime.Gosched() // as in Run
	m, ok := b.models[model].(engine.Staged)
	if !ok || b.exits[model] == nil {
		return &Error{Class: Server, Status: 502, Message: fmt.Sprintf("the embedded worker has no model %q with ramps", model)}
	}
	x, _ := b.scratch.Get().(*stagedScratch)
	if x == nil {
		x = new(stagedScratch)
	}
	x.info = oip.ResponseInfo{Model: model, Version: version(m)}
	err := x.run(ctx, m, calls, w)
	x.release()
	b.scratch.Put(x)
	return err
}

func (x *stagedScratch) release() {
	if len(x.members.reqs) == 1 {
		clear(x.in) // what a single request sends in binary is its own memory
	}
	x.tally.release()
	clear(x.members.calls[:cap(x.members.calls)])
	clear(x.members.reqs[:cap(x.members.reqs)])
	x.one[0], x.req[0] = nil, nil
}

func (x *stagedScratch) run(ctx context.Context, m engine.Staged, calls []*Call, w Watcher) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked("the engine", v)
		}
	}()
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	if x.in, err = decode(&x.members, x.in, calls, m.Metadata()); err != nil || len(x.members.calls) == 0 {
		return err
	}
	x.want = x.want[:0]
	for _, o := range x.members.reqs[0].Outputs {
		x.want = append(x.want, string(o.Name))
	}
	e, err := m.Begin(x.in)
	if err != nil {
		return asError(ctx, err)
	}
	defer e.Close()
	x.tally.begin(calls)
	if x.store, err = m.Store(x.store, len(x.owner), x.want); err != nil {
		return asError(ctx, err)
	}
	ramps := m.Stages() - 1
	set := w.Begin(x.rows)
	for k := 0; !e.Done(); k++ {
		exit, err := e.Next(ctx, set>>k&1 == 1)
		if err != nil {
			return asError(ctx, err)
		}
		if exit.Done || set>>k&1 == 1 {
			if err := x.pass(e, exit, ramps, w); err != nil {
				return asError(ctx, err)
			}
		}
	}
	return nil
}

// pass shows an exit and carries out what the watcher makes of it.
func (x *stagedScratch) pass(e *engine.Execution, exit engine.Exit, ramps int, w Watcher) error {
	x.signals = grown(x.signals, len(exit.Rows))
	for i := range x.signals {
		x.signals[i] = earlyexit.SignalOf(exit.Probabilities[i*exit.Classes:][:exit.Classes])
	}
	x.look(w, exit.Stage, exit.Done, false, x.signals)
	if err := e.Answer(x.store, x.leaving, x.want); err != nil {
		return err
	}
	for i, c := range x.tally.calls {
		if !exit.Done && !x.done[i] && c.Ramps>>exit.Stage&1 == 1 {
			if err := x.show(e, exit, i, w); err != nil {
				return err
			}
		}
	}
	for i, c := range x.tally.calls {
		if !x.complete(i) {
			continue
		}
		x.done[i] = true
		c.Exit, c.Confidence = x.exit[i], x.least(i)
		c.Err = x.encode(&c.Response, i, c.Request, c.Mark, oip.ExitMark{Exit: c.Exit, Final: true, Confidence: c.Confidence})
		if !exit.Done {
			x.tally.calls[i] = nil
			w.Answered(i)
		}
	}
	if exit.Done {
		return nil
	}
	return e.Keep(x.kept)
}

// show hands over call i's answer as the exit has it; rows that have left keep
// that of their own. One that cannot be written is left out: the client is told
// why in the end.
func (x *stagedScratch) show(e *engine.Execution, exit engine.Exit, i int, w Watcher) error {
	x.leaving = x.leaving[:0]
	for r := x.first[i]; r < x.first[i]+x.rows[i]; r++ {
		if !x.left[r] {
			x.leaving = append(x.leaving, r)
		}
	}
	if err := e.Answer(x.store, x.leaving, x.want); err != nil { // written anew when they leave
		return err
	}
	var m oip.Message
	if x.encode(&m, i, x.tally.calls[i].Request.AsJSON(), true, oip.ExitMark{Exit: exit.Stage, Confidence: x.least(i)}) == nil {
		w.Show(i, exit.Stage, m)
	}
	return nil
}

// encode writes what the store has for call i.
func (x *stagedScratch) encode(dst *oip.Message, i int, req *oip.Request, marked bool, mark oip.ExitMark) error {
	x.view = grown(x.view, len(x.store))
	for k := range x.store {
		t, v := &x.store[k], &x.view[k]
		width := len(t.Data) / len(x.owner)
		*v = oip.Tensor{
			Name: t.Name, Datatype: t.Datatype, Shape: append(v.Shape[:0], t.Shape...),
			Data: t.Data[x.first[i]*width:][:x.rows[i]*width],
		}
		v.Shape[0] = int64(x.rows[i])
	}
	info := x.info
	if marked {
		x.mark = mark.Append(x.mark[:0])
		info.Parameters = x.mark
	}
	x.one[0], x.req[0] = dst, req
	err := oip.Encode(x.one[:], x.view, x.req[:], nil, info)
	if err == nil {
		return nil
	}
	if some, ok := errors.AsType[*oip.BatchError](err); ok {
		return memberError(some.Errs[0])
	}
	return asError(context.Background(), err)
}
