package live

import (
	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
)

// exitsOf describes the ramps of a model on a worker; nil where there are none,
// or none are known.
func (m *Member) exitsOf(model *modelEntry) (backend.Staged, *backend.Exits) {
	b, ok := m.Backend.(backend.Staged)
	if !ok {
		return nil, nil
	}
	return b, b.Exits(model.Name)
}

// stageLocked makes the execution a staged one where some member may leave early,
// or is to be shown ramps, and the worker has them.
func (l *Loop) stageLocked(ex *execution, a *dispatch.Action) {
	ex.staged = nil
	model := l.model(a.Model)
	g := model.Gate
	leave, show := false, false
	for _, id := range a.Requests {
		r := l.mu.tickets[id.Index()].req
		leave = leave || g != nil && min(r.Mode, g.Mode()) > earlyexit.Off
		show = show || r.Ramps != 0
	}
	if !leave && !show {
		return
	}
	b, exits := ex.member.exitsOf(model)
	if exits == nil {
		return
	}
	if g != nil && !g.Fits(exits.Ramps) {
		g = nil
	}
	if g == nil && !show {
		return
	}
	if ex.watch == nil {
		ex.watch = &watch{loop: l, ex: ex}
	}
	ex.staged, ex.watch.gate, ex.watch.exits = b, g, exits
	ex.watch.calls, ex.watch.rows = ex.watch.calls[:0], ex.watch.rows[:0]
}
