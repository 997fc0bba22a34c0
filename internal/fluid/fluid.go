// Package fluid computes how much a mix of instance types can carry at most,
// and what an instance of each type is worth there: the fluid linear program of
// heterogeneous serving and its shadow prices.
//
// Requests come in classes i (a size, or a size of a model), a share p_i of the
// rate each; a request of class i occupies type j for c_ij, +Inf where the
// type cannot serve it. With N_j instances of type j,
//
//	max λ   s.t.  Σ_j x_ij = λ p_i          every request is served
//	              Σ_i x_ij c_ij ≤ N_j       nobody works more than all the time
//	              x ≥ 0
//
// whose dual has one price per type:
//
//	λ* = min_{y ≥ 0}  Σ_j N_j y_j  /  Σ_i p_i · min_j y_j c_ij
//
// λ* is what no dispatcher that runs requests one by one exceeds, and sending
// class i where y_j c_ij is least is what reaches it. Two extensions keep that
// form: a share of the requests that may be sacrificed, dearest first, and
// counts that are chosen under a budget.
//
// The package is pure and knows nothing of requests or instances beyond their
// numbers.
package fluid

import (
	"errors"
	"fmt"
	"math"
)

// Problem is one fluid program. The solver reads it and keeps nothing of it.
type Problem struct {
	// Share is p_i, at least 0, not all 0. It need not sum to 1: the rate comes
	// out in the unit in which the shares sum to 1, and with shares in
	// requests/s it is the factor by which all of them can grow.
	Share []float64
	// Cost is c_ij at Cost[i*len(Capacity)+j]: over 0, +Inf where type j cannot
	// serve class i. The rate is per unit of time of Cost.
	Cost []float64
	// Capacity is N_j, at least 0: how many instances there are, or with a
	// budget may be at most; then +Inf is no limit.
	Capacity []float64
	// Shed is the share of the requests that may be sacrificed, 0 … 1
	// exclusive, relative to the sum of Share.
	Shed float64
	// Price, with Budget, makes the counts part of the program: n_j ≤ Capacity
	// instances are bought at Price each, for at most Budget. A price of 0 is
	// a type that is paid for already. nil: all of Capacity is there.
	Price  []float64
	Budget float64
	// Hint are prices to start from, as a Solution of a similar program gave
	// them: it takes fewer steps then. nil: none.
	Hint []float64
}

// Solution is the optimum. Its slices belong to the solver and hold until its
// next call.
type Solution struct {
	// Rate is λ*: it includes the share that is sacrificed.
	Rate float64
	// Price is y_j = ∂λ*/∂N_j: what another instance of type j adds to the rate.
	// So Σ N_j y_j = Rate where all capacity is given, and with a budget
	// Σ Capacity_j (y_j − Price_j · Money) + Budget · Money = Rate.
	// For a type without any instance it is what the first sliver of one adds.
	Price []float64
	// Worth is v_i = min_j y_j c_ij: what a request of class i takes from the
	// rate, at most Shed's price; Σ p_i v_i = 1 without shedding.
	Worth []float64
	// Flow is x_ij / (λ p_i) at Flow[i*types+j]: the share of class i that type
	// j serves. A class's shares sum to 1 less what is sacrificed of it. At
	// most as many classes are split as there are types (and one for each
	// of budget and shedding).
	Flow []float64
	// Load is Σ_i x_ij c_ij: how many instances of type j are busy. With a budget
	// that is how many are bought.
	Load []float64
	// Dearest is the worth above which requests are sacrificed; 0 without Shed.
	Dearest float64
	// Money is ∂λ*/∂Budget; 0 without a budget.
	Money float64
	// Steps is how many pivots it took.
	Steps int
}

// UnservedError says that a class cannot be served: no type with capacity
// takes it, and shedding does not cover it.
type UnservedError struct{ Class int }

func (e *UnservedError) Error() string {
	return fmt.Sprintf("cannot serve class %d: no type with capacity takes it", e.Class)
}

// ErrStalled says that the solver did not come to an end, which costs that
// differ by more than about ten orders of magnitude can do.
var ErrStalled = errors.New("cannot solve the fluid program: numerically stalled")

// check reports the first field that is not what Problem says.
func (p *Problem) check() error {
	types, classes := len(p.Capacity), len(p.Share)
	if types == 0 || classes == 0 {
		return fmt.Errorf("cannot solve the fluid program: Capacity has %d types and Share %d classes: need one of each", types, classes)
	}
	if len(p.Cost) != types*classes {
		return fmt.Errorf("cannot solve the fluid program: Cost has %d entries, not %d classes × %d types", len(p.Cost), classes, types)
	}
	if p.Price != nil && len(p.Price) != types || p.Hint != nil && len(p.Hint) != types {
		return fmt.Errorf("cannot solve the fluid program: Price and Hint have %d and %d entries, not one for each of %d types", len(p.Price), len(p.Hint), types)
	}
	total := 0.0
	for i, s := range p.Share {
		if !(s >= 0) || math.IsInf(s, 0) {
			return fmt.Errorf("cannot solve the fluid program: Share[%d] is %v: must be at least 0", i, s)
		}
		total += s
	}
	if total == 0 {
		return errors.New("cannot solve the fluid program: Share is all 0")
	}
	some := false
	for j, n := range p.Capacity {
		if !(n >= 0) || math.IsInf(n, 1) && (p.Price == nil || p.Price[j] == 0) {
			return fmt.Errorf("cannot solve the fluid program: Capacity[%d] is %v: must be at least 0, and finite unless it is bought", j, n)
		}
		some = some || n > 0
		if p.Price != nil && (!(p.Price[j] >= 0) || math.IsInf(p.Price[j], 0)) {
			return fmt.Errorf("cannot solve the fluid program: Price[%d] is %v: must be at least 0", j, p.Price[j])
		}
	}
	if !some {
		return errors.New("cannot solve the fluid program: Capacity is all 0")
	}
	if p.Price != nil && (!(p.Budget > 0) || math.IsInf(p.Budget, 0)) {
		return fmt.Errorf("cannot solve the fluid program: Budget is %v: must be over 0", p.Budget)
	}
	if !(p.Shed >= 0 && p.Shed < 1) {
		return fmt.Errorf("cannot solve the fluid program: Shed is %v: must be at least 0 and under 1", p.Shed)
	}
	return nil
}
