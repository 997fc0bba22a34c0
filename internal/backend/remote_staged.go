package backend

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

var _ Staged = (*Remote)(nil)

// Exits implements Staged: what the model's metadata said at the last probe.
func (r *Remote) Exits(model string) *Exits {
	if x := r.exits(model); x != nil {
		return &x.Exits
	}
	return nil
}

func (r *Remote) exits(model string) *remoteExits {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.mu.models[model]; f != nil {
		return f.exits
	}
	return nil
}

// stagedRun is one RunStaged on a worker.
type stagedRun struct {
	*Remote
	*remoteScratch
	tally
	exits    *remoteExits
	model    string
	w        Watcher
	set      uint32 // of ramps asked for
	passed   int    // the latest ramp that was shown; −1 at first
	signals  []earlyexit.Signal
	running  []earlyexit.Signal
	values   []float32
	whole    []*oip.Request // by call; nil once it is answered
	hidden   []string       // outputs that are no answer of the model's own
	messages []*oip.Message
	marks    []*oip.ExitMark
	memory   []oip.ExitMark
}

// RunStaged implements Staged, on a model whose metadata say how it shows its
// ramps (see oip.MetaMode); where a probe has found meanwhile that it does no
// longer, it is Run.
//
// Decoupled, each event of infer_stream is one exit's whole answer. A ramp that
// comes out of order, again, unasked or after the last exit is passed over. When
// no row is to run any more the stream is closed, by which the worker learns it.
// Rows of one call leave together. As multi_output, the watcher sees the ramps in
// order once all are there; the answer is the last exit's, whatever the watcher
// says, and nobody is shown ramps.
func (r *Remote) RunStaged(ctx context.Context, model string, calls []*Call, w Watcher) error {
	exits := r.exits(model)
	if exits == nil || len(calls) == 0 {
		return r.Run(ctx, model, calls)
	}
	x, _ := r.scratch.Get().(*remoteScratch)
	if x == nil {
		x = new(remoteScratch)
	}
	defer r.release(x)
	s, _ := r.runs.Get().(*stagedRun)
	if s == nil {
		s = new(stagedRun)
	}
	defer s.release()
	s.Remote, s.remoteScratch, s.exits, s.model, s.w, s.passed = r, x, exits, model, w, -1
	deadline := r.deadline(ctx)
	opt, err := r.options(ctx, deadline, calls)
	if err != nil {
		return err
	}
	opt.AllOutputs, opt.AskRamps = true, exits.stream
	x.take(calls)
	x.lead = calls[0]
	if !opt.Binary && slices.ContainsFunc(x.reqs, func(q *oip.Request) bool { return q.HeadLength >= 0 }) {
		// Some may have no JSON form. Who they are must be known before Begin.
		if _, err := r.merge(ctx, x, opt); err != nil || len(x.calls) == 0 {
			return err
		}
	}
	s.begin(calls)
	s.set = w.Begin(s.rows)
	opt.Ramps = exits.wire(s.set)
	members := len(x.reqs)
	msg, err := r.merge(ctx, x, opt)
	if err != nil {
		return err
	}
	if len(x.reqs) < members {
		return &Error{Class: Server, Status: 500, Message: "a request of the batch cannot be sent, which was not foreseen"}
	}
	s.prepare()
	if exits.stream {
		return s.follow(ctx, deadline, msg)
	}
	return s.record(ctx, deadline, msg)
}

// release gives the memory back, without what belongs to others.
func (s *stagedRun) release() {
	r := s.Remote
	s.tally.release()
	clear(s.whole)
	clear(s.messages)
	s.Remote, s.remoteScratch, s.exits, s.w = nil, nil, nil, nil
	r.runs.Put(s)
}

// prepare sets up what every exit's answer is written with.
func (s *stagedRun) prepare() {
	s.whole, s.hidden = s.whole[:0], s.hidden[:0]
	for _, c := range s.tally.calls {
		if c.Err != nil {
			s.whole = append(s.whole, nil)
		} else {
			s.whole = append(s.whole, c.Request)
		}
	}
	s.memory, s.messages, s.marks = grown(s.memory, len(s.whole)), grown(s.messages, len(s.whole)), grown(s.marks, len(s.whole))
	if len(s.reqs[0].Outputs) > 0 {
		return // only what was asked for is handed on
	}
	s.mu.Lock()
	own := s.mu.models[s.model]
	s.mu.Unlock()
	if own != nil && own.metadata != nil && !slices.ContainsFunc(own.metadata.Outputs, func(t oip.TensorMetadata) bool { return t.Name == confidenceOutput }) {
		s.hidden = append(s.hidden, confidenceOutput)
	}
	if !s.exits.stream {
		for _, n := range s.exits.numbers {
			s.hidden = append(s.hidden, rampOutput(n))
		}
	}
}

// follow takes the exits as they come.
func (s *stagedRun) follow(ctx context.Context, deadline time.Time, msg *oip.Message) error {
	rep, failed := s.do(ctx, deadline, query{
		method: "POST", path: modelsPath, name: url.PathEscape(s.upstream(s.model)), tail: "/infer_stream",
		msg: msg, lead: s.lead, event: s.event,
	}, s.body)
	s.body = rep.body
	if failed != nil {
		return failed
	}
	if rep.status != 200 {
		return statusError(rep.status, rep.body)
	}
	return nil
}

// event is one exit. errLast and errQuit end the stream.
func (s *stagedRun) event(name, data []byte) error {
	switch string(name) {
	case "error":
		why := workerMessage(data)
		if why == "" {
			why = "it does not say why"
		}
		return &Error{Class: Server, Status: 502, Message: "the worker failed: " + why}
	case "ramp", "final", "", "message":
	default:
		return nil
	}
	if err := s.resp.Parse(data, -1, nil); err != nil {
		return protocolError(err)
	}
	mark, marked := s.resp.ExitMark()
	if string(name) == "final" || marked && mark.Final {
		if err := s.pass(s.exits.Ramps, probabilitiesOutput); err != nil {
			return err
		}
		return errLast
	}
	if !marked {
		return protocolError(fmt.Errorf("an event does not say which exit it is of: %.100q", data))
	}
	ramp, known := slices.BinarySearch(s.exits.numbers, mark.Exit)
	if !known || ramp <= s.passed || s.set>>ramp&1 == 0 {
		return nil
	}
	if err := s.pass(ramp, probabilitiesOutput); err != nil {
		return err
	}
	if len(s.kept) == 0 {
		return errQuit
	}
	return nil
}

// pass shows an exit, which s.resp is the answer of, and answers the calls that
// have left.
func (s *stagedRun) pass(exit int, probabilities string) error {
	s.passed = exit
	last := exit == s.exits.Ramps
	s.see(probabilities)
	s.look(s.w, exit, last, true, s.running)
	answers, shows := false, false
	clear(s.messages)
	for i, c := range s.tally.calls {
		s.marks[i] = nil
		switch {
		case s.done[i]:
		case s.complete(i):
			c.Exit, c.Confidence, answers = s.exit[i], s.least(i), true
			s.messages[i] = &c.Response
			if c.Mark {
				s.marks[i] = s.mark(i, oip.ExitMark{Exit: c.Exit, Final: true, Confidence: c.Confidence})
			}
		case !last && c.Ramps>>exit&1 == 1:
			shows = true
		}
	}
	s.own()
	if answers {
		failed := oip.SplitExit(s.messages, &s.resp, s.whole, s.rows, s.marks)
		some, single := errors.AsType[*oip.BatchError](failed)
		if failed != nil && !single {
			return protocolError(failed)
		}
		for i, c := range s.tally.calls {
			if s.messages[i] == nil {
				continue
			}
			if single && some.Errs[i] != nil {
				c.Err = memberError(some.Errs[i])
			}
			s.done[i], s.whole[i] = true, nil
			if !last {
				s.tally.calls[i] = nil
				s.w.Answered(i)
			}
		}
	}
	if shows {
		return s.show(exit)
	}
	return nil
}

func (s *stagedRun) mark(i int, m oip.ExitMark) *oip.ExitMark {
	s.memory[i] = m
	return &s.memory[i]
}

// see reads the signals of the rows that still run.
func (s *stagedRun) see(probabilities string) {
	s.signals, s.values = s.exits.signals(s.signals, s.values, &s.resp, probabilities, len(s.owner))
	s.running = s.running[:0]
	for _, r := range s.kept {
		s.running = append(s.running, s.signals[r])
	}
}

// own leaves in s.resp what is an answer of the model under its name here.
func (s *stagedRun) own() {
	if s.upstream(s.model) != s.model {
		s.resp.ModelName = s.literals[s.model]
	}
	s.resp.Outputs = slices.DeleteFunc(s.resp.Outputs, func(o oip.ResponseOutput) bool {
		return slices.Contains(s.hidden, string(o.Name))
	})
}

// show hands over a ramp's answer to those that want to see it. One that cannot
// be written is left out: the client is told why in the end.
func (s *stagedRun) show(ramp int) error {
	reqs := slices.Clone(s.whole)
	clear(s.messages)
	for i, c := range s.tally.calls {
		if s.done[i] || c.Ramps>>ramp&1 == 0 {
			continue
		}
		reqs[i] = c.Request.AsJSON()
		s.messages[i] = new(oip.Message)
		s.marks[i] = s.mark(i, oip.ExitMark{Exit: ramp, Confidence: s.least(i)})
	}
	failed := oip.SplitExit(s.messages, &s.resp, reqs, s.rows, s.marks)
	some, single := errors.AsType[*oip.BatchError](failed)
	if failed != nil && !single {
		return protocolError(failed)
	}
	for i, m := range s.messages {
		if m != nil && !(single && some.Errs[i] != nil) {
			s.w.Show(i, ramp, *m)
		}
	}
	return nil
}

// record takes all exits from one answer. The ramps are shown for the watcher to
// learn from.
func (s *stagedRun) record(ctx context.Context, deadline time.Time, msg *oip.Message) error {
	rep, failed := s.do(ctx, deadline, query{
		method: "POST", path: modelsPath, name: url.PathEscape(s.upstream(s.model)), tail: "/infer",
		msg: msg, lead: s.lead,
	}, s.body)
	s.body = rep.body
	if failed != nil {
		return failed
	}
	if rep.status != 200 {
		return statusError(rep.status, rep.body)
	}
	if err := s.resp.Parse(rep.body, rep.headLength, nil); err != nil {
		return protocolError(err)
	}
	for k, number := range s.exits.numbers {
		if name := rampOutput(number); s.set>>k&1 == 1 && find(&s.resp, name) != nil {
			s.see(name)
			s.present(s.w, k, true, s.running)
		}
	}
	return s.pass(s.exits.Ramps, probabilitiesOutput)
}
