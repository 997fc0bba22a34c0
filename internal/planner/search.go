package planner

import "errors"

func (s *solver) search(sp *space) error { return errors.New("cannot plan: the space is too large") }
func (s *solver) cheapest() error        { return errors.New("cannot plan: Rate is not built yet") }
func (s *solver) carriers() []verdict    { return nil }
