package router

import (
	"math"
	"strconv"
)

// number is a float64 whose JSON is null where it is not finite.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
	}
	return []byte("null"), nil
}

// exitState is a model's part of /debug/exits: an earlyexit.Report.
type exitState struct {
	Name      string           `json:"name"`
	Mode      string           `json:"mode"`
	Target    number           `json:"target"`
	Tau       number           `json:"tau"` // null: there is none
	Safe      bool             `json:"safe"`
	Alarms    uint64           `json:"alarms"`
	Seen      uint64           `json:"seen"`
	Exited    uint64           `json:"exited"`
	Audited   uint64           `json:"audited"`
	Lost      uint64           `json:"lost"`
	Disagreed number           `json:"disagreed"`
	Bound     number           `json:"bound"`
	Agreement number           `json:"agreement"`
	Low95     number           `json:"agreement_low95"`
	Certified number           `json:"certified_disagreement"`
	Ramps     []exitRampState  `json:"ramps"`
	Classes   []exitClassState `json:"classes"`
}

type exitRampState struct {
	Ramp      int     `json:"ramp"`
	Depth     *number `json:"depth"` // null: unknown
	Active    bool    `json:"active"`
	Seen      uint64  `json:"seen"`
	Exited    uint64  `json:"exited"`
	Audited   uint64  `json:"audited"`
	Disagreed number  `json:"disagreed"`
}

type exitClassState struct {
	Class     int    `json:"class"`
	Seen      uint64 `json:"seen"`
	Exited    uint64 `json:"exited"`
	Disagreed number `json:"disagreed"`
}

// debugExits is where early exit stands, for each model that has it.
func (s *Server) debugExits() any {
	all := []exitState{}
	for _, m := range s.offered() {
		if e, ok := m.exitState(); ok {
			all = append(all, e)
		}
	}
	return all
}

func (m *model) exitState() (exitState, bool) {
	r, ok := m.report()
	if !ok {
		return exitState{}, false
	}
	e := exitState{
		Name: m.Name, Mode: r.Mode.String(), Target: number(r.Target), Tau: number(r.Tau), Safe: r.Safe, Alarms: r.Alarms,
		Seen: r.Seen, Exited: r.Exited, Audited: r.Audited, Lost: r.Lost, Disagreed: number(r.Disagreed), Bound: number(r.Bound),
		Agreement: number(r.Agreement), Low95: number(r.Low95), Certified: number(r.Certified),
		Ramps: make([]exitRampState, 0, len(r.Ramps)), Classes: make([]exitClassState, 0, len(r.Classes)),
	}
	_, depth := m.ramps()
	for i, p := range r.Ramps {
		state := exitRampState{Ramp: i, Active: p.Active, Seen: p.Seen, Exited: p.Exited, Audited: p.Audited, Disagreed: number(p.Disagreed)}
		if i < len(depth) {
			d := number(depth[i])
			state.Depth = &d
		}
		e.Ramps = append(e.Ramps, state)
	}
	for i, c := range r.Classes {
		e.Classes = append(e.Classes, exitClassState{Class: i, Seen: c.Seen, Exited: c.Exited, Disagreed: number(c.Disagreed)})
	}
	return e, true
}
