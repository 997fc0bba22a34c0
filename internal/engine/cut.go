package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fuse lets each convolution take in the Add and the Relu that alone read it,
// and each pool the Flatten.
func (c *compiler) fuse() {
	readers := map[*value]int{}
	reader := map[*value]int{} // the last one
	for i, ins := range c.instructions {
		for _, v := range ins.reads {
			readers[v]++
			reader[v] = i
		}
	}
	for _, v := range append(slices.Clone(c.outputs), c.ramps...) {
		readers[v] += 2 // never fused away
	}
	for i, ins := range c.instructions {
		if ins == nil || ins.conv == nil && ins.pool == nil {
			continue
		}
		at := i // where the convolution runs: where the last node taken in stood
		take := func(op string) *instruction {
			if readers[ins.out] != 1 {
				return nil
			}
			if next := c.instructions[reader[ins.out]]; next != nil && next.node.op == op {
				c.instructions[at] = nil
				at = reader[ins.out]
				return next
			}
			return nil
		}
		if ins.pool != nil {
			if f := take("Flatten"); f != nil {
				ins.pool.flat, ins.out = true, f.out
			}
			c.instructions[at] = ins
			continue
		}
		if sum := take("Add"); sum != nil {
			other := sum.reads[0]
			if other == ins.out {
				other = sum.reads[1]
			}
			ins.residual, ins.reads, ins.out = other, append(ins.reads, other), sum.out
		}
		if r := take("Relu"); r != nil {
			ins.conv.relu, ins.out = true, r.out
		}
		c.instructions[at] = ins
	}
	c.instructions = slices.DeleteFunc(c.instructions, func(ins *instruction) bool { return ins == nil })
	for i, ins := range c.instructions {
		c.maker[ins.out.name] = i
	}
}

// ancestors calls f for every instruction that v depends on, until f says no.
func (c *compiler) ancestors(v *value, f func(*instruction) bool) {
	if i, made := c.maker[v.name]; made && f(c.instructions[i]) {
		for _, r := range c.instructions[i].reads {
			c.ancestors(r, f)
		}
	}
}

// cut divides the graph into stages: stage k ends with the value that ramp k
// branches from, and nothing else may be alive there, so that dropping rows
// means shortening one value.
func (c *compiler) cut() error {
	c.fuse()
	for _, o := range c.outputs {
		c.ancestors(o, func(ins *instruction) bool {
			first := !ins.trunk
			ins.trunk = true
			return first
		})
	}
	slices.SortFunc(c.ramps, func(a, b *value) int { return cmp.Compare(rampNumber(a.name), rampNumber(b.name)) })
	after := -1 // the instruction that ends the stage before
	for k, ramp := range c.ramps {
		if rampNumber(ramp.name) != k {
			return fmt.Errorf("the output %q is not ramp %d: ramps are numbered from 0 without gaps", ramp.name, k)
		}
		if err := c.checkAnswer(ramp); err != nil {
			return err
		}
		branch, err := c.takeRamp(ramp, k)
		if err != nil {
			return err
		}
		at, made := c.maker[branch.name]
		if !made || at <= after {
			return fmt.Errorf("ramp %q branches from %q, which is not later than the ramp before", ramp.name, branch.name)
		}
		if other := c.alsoAlive(at, branch); other != nil {
			return fmt.Errorf("ramp %q branches from %q where %q is needed later too", ramp.name, branch.name, other.name)
		}
		for _, ins := range c.instructions[after+1 : at+1] {
			if ins.trunk {
				ins.stage = k
			}
		}
		after = at
		c.branches = append(c.branches, branch)
	}
	for _, ins := range c.instructions[after+1:] {
		if ins.trunk {
			ins.stage = len(c.ramps)
		}
	}
	return nil
}

func rampNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, rampPrefix), rampSuffix))
	if err != nil {
		return -1 // too long for a number
	}
	return n
}

// takeRamp marks the instructions that only ramp k needs, and finds the one
// trunk value that they start from.
func (c *compiler) takeRamp(ramp *value, k int) (branch *value, err error) {
	c.ancestors(ramp, func(ins *instruction) bool {
		if ins.trunk {
			return false
		}
		if ins.ramp && ins.stage != k {
			err = fmt.Errorf("ramps %d and %d share %s", ins.stage, k, ins.node.label())
		}
		if ins.ramp { // seen already
			return false
		}
		ins.ramp, ins.stage = true, k
		for _, r := range ins.reads {
			if i, made := c.maker[r.name]; made && !c.instructions[i].trunk {
				continue
			}
			if branch != nil && branch != r {
				err = fmt.Errorf("ramp %q reads both %q and %q of the network", ramp.name, branch.name, r.name)
			}
			branch = r
		}
		return true
	})
	if err == nil && branch == nil {
		err = fmt.Errorf("ramp %q is part of the network's own way", ramp.name)
	}
	return branch, err
}

// checkAnswer sees to it that a ramp can answer in the place of the outputs.
func (c *compiler) checkAnswer(ramp *value) error {
	first := c.outputs[0]
	if len(c.outputs) > 2 || first.kind != rowsValue || ramp.kind != rowsValue || ramp.columns != first.columns {
		return fmt.Errorf("ramp %q cannot stand for the outputs: want a first output of the same shape, and at most its ArgMax beside it", ramp.name)
	}
	if len(c.outputs) == 2 {
		ins := c.instructions[c.maker[c.outputs[1].name]]
		if ins.node.op != "ArgMax" || ins.reads[0] != first {
			return fmt.Errorf("with ramps, the second output %q must be the ArgMax of the first", c.outputs[1].name)
		}
	}
	return nil
}

// alsoAlive finds a trunk value other than branch that is made up to
// instruction at and needed after it.
func (c *compiler) alsoAlive(at int, branch *value) *value {
	for i, ins := range c.instructions {
		if i > at && ins.trunk {
			for _, r := range ins.reads {
				if made, ok := c.maker[r.name]; r != branch && (!ok || made <= at) {
					return r
				}
			}
		}
	}
	for _, o := range c.outputs {
		if c.maker[o.name] <= at && o != branch {
			return o
		}
	}
	return nil
}

// emit orders the instructions by stage, gives the values slots and makes the
// steps. A slot is used again once its value is read for the last time.
func (c *compiler) emit() (*program, error) {
	order := slices.DeleteFunc(slices.Clone(c.instructions), func(ins *instruction) bool { return !ins.trunk && !ins.ramp })
	slices.SortStableFunc(order, func(a, b *instruction) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(boolInt(a.ramp), boolInt(b.ramp)))
	})
	p := &program{name: c.graph.name, input: c.input, outputs: c.outputs, stages: make([]stage, len(c.ramps)+1)}
	for i, ins := range order {
		for _, r := range ins.reads {
			r.last = i
		}
	}
	for _, o := range append(slices.Clone(c.outputs), c.branches...) {
		o.last = max(o.last, len(order))
	}
	for k, b := range c.branches { // alive until the next stage has read it
		b.last = 0
		for i, ins := range order {
			if slices.Contains(ins.reads, b) || ins.stage == k {
				b.last = i
			}
		}
		c.ramps[k].last = b.last // until the next stage is entered
		for i, ins := range order {
			if ins.stage <= k {
				c.ramps[k].last = max(c.ramps[k].last, i)
			}
		}
	}
	var busy []*value
	place := func(v *value, now int) {
		busy = slices.DeleteFunc(busy, func(b *value) bool { return b.last < now })
		v.slot = 0
		for slices.ContainsFunc(busy, func(b *value) bool { return b.slot == v.slot }) {
			v.slot++
		}
		for len(p.slots) <= v.slot {
			p.slots = append(p.slots, &slotSize{})
		}
		p.slots[v.slot].values = append(p.slots[v.slot].values, v)
		busy = append(busy, v)
	}
	place(c.input, 0)
	for i, ins := range order {
		if ins.out.kind != intsValue {
			place(ins.out, i)
		}
	}
	for _, ins := range order {
		s := &p.stages[ins.stage]
		if ins.ramp {
			s.ramp = append(s.ramp, ins.step())
		} else {
			s.trunk = append(s.trunk, ins.step())
		}
	}
	for k := range p.stages {
		if k < len(c.ramps) {
			p.stages[k].live, p.stages[k].says = c.branches[k], c.ramps[k]
		} else if c.outputs[0].kind == rowsValue {
			p.stages[k].says = c.outputs[0]
		}
	}
	if perItem := p.floats(1); perItem > maxItemFloats {
		return nil, fmt.Errorf("the network needs %d values of scratch an item, at most %d are supported", perItem, maxItemFloats)
	}
	return p, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// floats is the scratch that all slots need for n items.
func (p *program) floats(n int) int {
	sum := 0
	for _, s := range p.slots {
		sum += s.floats(n)
	}
	return sum
}
