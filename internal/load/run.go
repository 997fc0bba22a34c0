package load

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// connectWithin is how long the connections of a phase may take to come up.
const connectWithin = 5 * time.Second

// Run runs one phase of the plan, and hands what ended to take, which is called
// by one goroutine at a time; take ends the phase by returning false. What is
// under way then, or when the context ends, is dropped without a record. The
// error is of the machine, or says that no connection could be made at all.
func (p *Plan) Run(ctx context.Context, phase int, take func([]Record) bool) (err error) {
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	sink := make(chan []Record, 64) // some 2 MB: the loops do not wait while take writes to a disk
	loops := make([]*loop, p.Threads)
	for i := range loops {
		l, err := newLoop(p, phase, i, sink, &stop)
		if err != nil {
			return err
		}
		defer l.close()
		if err := l.connect(connectWithin); err != nil {
			return err
		}
		loops[i] = l
	}
	begin := time.Now().Add(time.Millisecond) // when the threads are up
	ended := make(chan error)
	for _, l := range loops {
		go func() { ended <- l.run(begin) }()
	}
	for running := len(loops); running > 0; {
		select {
		case records := <-sink:
			if !stop.Load() && !take(records) {
				stop.Store(true)
			}
		case e := <-ended:
			running--
			if e != nil {
				stop.Store(true)
				err = errors.Join(err, e)
			}
		}
	}
	for len(sink) > 0 {
		if records := <-sink; !stop.Load() {
			take(records)
		}
	}
	return err
}
