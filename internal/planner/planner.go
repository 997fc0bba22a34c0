// Package planner computes which mix of instance types carries most within the
// QoS targets for a budget, or which is the cheapest that carries a rate.
//
// Mixes are ranked by a fluid program (package fluid) whose costs know of
// batching, the best are verified by whatever the caller gives for that (a
// simulation, mostly), and the winner comes with bounds that no dispatcher
// exceeds, with the use that each type is put to, and with what a further
// dollar would buy. A small space of mixes is enumerated; in a large one
// integer mixes are searched around the relaxed optimum.
//
// The answer is data; whoever asked applies it. The package is pure: the same
// problem gives the same plan.
package planner

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Type is an instance type that can be rented.
type Type struct {
	Name       string
	USDPerHour float64 // on demand, for one instance
	// Limit is the most instances of the type, on demand and spot together; 0 =
	// as many as the budget buys.
	Limit int
	// Min is the least number of instances on demand.
	Min int
	// SpotUSDPerHour is the price of a spot instance; 0 = none are to be had.
	SpotUSDPerHour float64
	// Interruptions is how often per hour a spot instance is taken away, and
	// Recovery how long it takes until another one serves. A spot instance
	// is worth the share of the time that it is there,
	//
	//	1 / (1 + Interruptions · Recovery)
	//
	// that of a renewal process that is up for 1/Interruptions and down for
	// Recovery, in the mean. What an interruption loses is retried and not
	// counted; interruptions that come together are what OnDemandShare is for.
	Interruptions float64
	Recovery      time.Duration
}

// Availability is the share of an on-demand instance that a spot instance of
// the type is worth.
func (t *Type) Availability() float64 {
	return 1 / (1 + t.Interruptions*t.Recovery.Hours())
}

// Model is a share of the demand.
type Model struct {
	Name string
	// Share is the part of the requests that are for this model, in any unit:
	// only its proportion to the others' counts. 0 = 1.
	Share float64
	// Sizes and P are the request sizes in items, rising, and how probable each
	// is; P is scaled to sum to 1.
	Sizes []int
	P     []float64
	QoS   time.Duration
	// Quantile is the share of the requests that has to be answered within QoS;
	// 0 = 0.99.
	Quantile float64
	// Split: the rows of a request may run apart, so that a type serves sizes
	// that it could not run whole within QoS.
	Split bool
	// MaxBatch is the most items of one execution; 0 = the largest size. 1 or
	// less than two requests' items amount to no merging.
	MaxBatch int
}

// Latency says how long a batch takes: its mean, and what it stays under with
// the model's Quantile. A mean of 0 says that the type cannot run the model
// with that many items. Both must not fall as items grow, but for noise.
type Latency func(model, typ, items int) (mean, bound time.Duration)

// Problem is what to plan for. One of Budget and Rate is needed.
type Problem struct {
	Types   []Type
	Models  []Model
	Latency Latency
	// Budget is the most that the mix may cost, in USD per hour.
	Budget float64
	// Rate is what the mix has to carry, in requests/s over all models; the plan
	// then is the cheapest mix that does, and within Budget if that is given
	// too. 0 = as much as Budget buys.
	Rate float64
	// OnDemandShare is the least part of the instances, weighed by their
	// on-demand prices, that is rented on demand: 0 … 1.
	OnDemandShare float64
	// Base is 1 + the index of the type that KAIROS's bound takes as its base;
	// 0 = of a mix's types the fastest with the largest request.
	// Bounds.Kairos is for one model only.
	Base int
	// Current is a mix to be placed among the others, indexed like Types; it
	// need not be within Budget or limits. nil = none.
	Current []Count
	// Verify measures the allowable throughput of mixes, in requests/s over all
	// models in their proportion, one figure per trial; nil = the estimate is
	// believed. The same trial must give the same figure.
	Verify func([]Trial) ([]float64, error)
	// Candidates is how many mixes are verified at most, Current and finals
	// not counted; 0 = 20.
	Candidates int
	// Finals is how many of the best are then verified once more, as finals: a
	// Verify that measures these more closely finds the best with little
	// effort. 0 = none.
	Finals int
}

// Trial is a mix to be measured.
type Trial struct {
	// Mix counts the instances of each type, spot ones as if they were always
	// there: the planner allows for their absences by itself.
	Mix []int
	// Near is about what is expected of it, in requests/s: where to begin looking.
	Near float64
	// Final marks those that are measured again.
	Final bool
}

// Count is how many instances of a type a mix has.
type Count struct{ OnDemand, Spot int }

// Total is the number of instances.
func (c Count) Total() int { return c.OnDemand + c.Spot }

// Bounds are rates that no dispatcher exceeds on a mix, in requests/s; 0 where
// a bound does not apply.
type Bounds struct {
	// Kairos is the upper bound of KAIROS (HPDC'23), for one model. In spite of
	// its name it is an estimate: it can lie below LP.
	Kairos float64 `json:"kairos_ub"`
	// LP bounds every dispatcher that runs requests one by one and answers all
	// of them within QoS in the mean; Shed one that may sacrifice the share that
	// the quantile allows, of the dearest requests.
	LP   float64 `json:"lp"`
	Shed float64 `json:"lp_shed"`
	// Batching bounds every dispatcher that merges requests and answers all of
	// them: each item at the best cost per item of any batch whose mean is
	// within QoS. For several models it is that of the fluid program over whole
	// models.
	Batching float64 `json:"batching"`
	// Merged is tighter where some type cannot take every size, and looser in
	// that it may sacrifice the share that the quantile allows: each item at
	// the best cost per item of its type, requests only where their size fits,
	// the dearest left out.
	Merged float64 `json:"merged"`
}

// Candidate is a mix with what is known of it.
type Candidate struct {
	Mix        []Count // of each type
	USDPerHour float64
	// Estimate is the batching-aware fluid rate that mixes are ranked by.
	Estimate float64
	// Goodput is what the mix is expected to carry: measured if Verified, else
	// Estimate times what verified mixes reached of theirs, in the mean.
	Goodput  float64
	Verified bool
	Bounds   Bounds
}

// Plan is the answer.
type Plan struct {
	Best Candidate
	// Others are the next best, at most Candidates − 1, best first.
	Others []Candidate
	// Relaxed is the estimate that counts in fractions would reach: no mix's
	// exceeds it. With Rate it is for what Best costs.
	Relaxed float64
	// Headroom is Best.Goodput / Rate − 1; 0 without Rate.
	Headroom float64
	// Reached is what verified mixes reached of their estimates, in the mean; 1
	// where nothing was verified.
	Reached float64
	// Current is Problem.Current, and Rank its place among the mixes that were
	// ranked, by Goodput: 1 is better than all of them. 0 without Current.
	Current Candidate
	Rank    int
	// Uses say what each type of Best is for.
	Uses []Use
	// Next is the instance to add next, and what it would bring.
	Next Step
	// PerUSD is what a further USD per hour would buy, in requests/s of the
	// estimate, if fractions could be bought.
	PerUSD float64
	// Examined counts the mixes that were ranked, Current among them, Measured
	// those verified but for Current.
	// Exhaustive says that none within the budget that nothing can be added
	// to (with Rate: that nothing can be taken from) was left out.
	Examined, Measured int
	Exhaustive         bool
}

// Use is what a type does in the best mix, as the fluid program would have it.
type Use struct {
	Type int
	// Instances is how many there are, spot by availability.
	Instances float64
	// Requests and Work are its shares of all requests and of all busy time.
	Requests, Work float64
	// Utilisation is the busy share of its time at the estimated rate.
	Utilisation float64
	// Value is what another instance adds to the rate, in requests/s: its
	// shadow price. PerUSD is the same for a USD per hour at the cheapest offer.
	Value, PerUSD float64
	// Models say which sizes it serves.
	Models []Span
}

// Span is the sizes of a model that a type serves.
type Span struct {
	Model    int
	From, To int // items
	// InParts is the least of these that the type cannot run whole within QoS:
	// from it on the rows of a request run apart. 0 = none.
	InParts int
	Share   float64 // of the model's requests
	Batch   int     // items of the batch that the estimate reckons with
}

// Step is one instance more.
type Step struct {
	Type       int // −1: none is allowed
	Spot       bool
	USDPerHour float64
	Adds       float64 // requests/s, by the estimate
}

// Errors that say that there is no plan although the problem is sound.
var (
	// ErrNoMix says that no mix costs at most the budget.
	ErrNoMix = errors.New("cannot plan: no mix of the types is within Budget, Min, Limit and OnDemandShare")
	// ErrNotCarried says that no mix within budget and limits carries the rate.
	ErrNotCarried = errors.New("cannot plan: no mix within Budget and Limit carries Rate")
)

func bad(field string, value any, must string) error {
	return fmt.Errorf("cannot plan: %s is %v: must be %s", field, value, must)
}

// positive is false of NaN and infinities too.
func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }

// check reports the first field that is not what Problem says.
func (p *Problem) check() error {
	switch {
	case len(p.Types) == 0:
		return bad("Types", "empty", "at least one type")
	case len(p.Models) == 0:
		return bad("Models", "empty", "at least one model")
	case p.Latency == nil:
		return bad("Latency", "nil", "given")
	case p.Budget != 0 && !positive(p.Budget) || p.Budget == 0 && p.Rate == 0:
		return bad("Budget", p.Budget, "over 0 USD/h, unless Rate is given")
	case p.Rate != 0 && !positive(p.Rate):
		return bad("Rate", p.Rate, "over 0 requests/s")
	case !(p.OnDemandShare >= 0 && p.OnDemandShare <= 1):
		return bad("OnDemandShare", p.OnDemandShare, "from 0 to 1")
	case p.Base < 0 || p.Base > len(p.Types):
		return bad("Base", p.Base, "0, or 1 + a type's index")
	case p.Candidates < 0:
		return bad("Candidates", p.Candidates, "at least 0")
	case p.Finals < 0:
		return bad("Finals", p.Finals, "at least 0")
	case p.Current != nil && len(p.Current) != len(p.Types):
		return fmt.Errorf("cannot plan: Current has %d types of %d", len(p.Current), len(p.Types))
	}
	for j, c := range p.Current {
		if c.OnDemand < 0 || c.Spot < 0 || c.Spot > 0 && p.Types[j].SpotUSDPerHour == 0 {
			return bad(fmt.Sprintf("Current[%d] (%s)", j, p.Types[j].Name), c, "at least 0, without spot instances where they have no price")
		}
	}
	for j := range p.Types {
		if err := p.Types[j].check(fmt.Sprintf("Types[%d] (%s)", j, p.Types[j].Name)); err != nil {
			return err
		}
	}
	for m := range p.Models {
		if err := p.Models[m].check(fmt.Sprintf("Models[%d] (%s)", m, p.Models[m].Name)); err != nil {
			return err
		}
	}
	return nil
}

func (t *Type) check(at string) error {
	switch {
	case !positive(t.USDPerHour):
		return bad(at+".USDPerHour", t.USDPerHour, "over 0")
	case t.Limit < 0:
		return bad(at+".Limit", t.Limit, "at least 0")
	case t.Min < 0 || t.Limit > 0 && t.Min > t.Limit:
		return bad(at+".Min", t.Min, "from 0 to Limit")
	case t.SpotUSDPerHour != 0 && !positive(t.SpotUSDPerHour):
		return bad(at+".SpotUSDPerHour", t.SpotUSDPerHour, "over 0, or 0 for none")
	case t.Interruptions != 0 && !positive(t.Interruptions):
		return bad(at+".Interruptions", t.Interruptions, "at least 0 per hour")
	case t.Recovery < 0:
		return bad(at+".Recovery", t.Recovery, "at least 0")
	}
	return nil
}

func (m *Model) check(at string) error {
	switch {
	case m.Share != 0 && !positive(m.Share):
		return bad(at+".Share", m.Share, "over 0")
	case len(m.Sizes) == 0 || len(m.Sizes) != len(m.P):
		return fmt.Errorf("cannot plan: %s has %d Sizes and %d P: must be as many, and at least one", at, len(m.Sizes), len(m.P))
	case m.QoS <= 0:
		return bad(at+".QoS", m.QoS, "over 0")
	case m.Quantile != 0 && !(m.Quantile > 0 && m.Quantile < 1):
		return bad(at+".Quantile", m.Quantile, "between 0 and 1")
	case m.MaxBatch < 0:
		return bad(at+".MaxBatch", m.MaxBatch, "at least 0")
	}
	total := 0.0
	for i, n := range m.Sizes {
		if n < 1 || i > 0 && n <= m.Sizes[i-1] {
			return bad(fmt.Sprintf("%s.Sizes[%d]", at, i), n, "at least 1, and more than the one before")
		}
		if !(m.P[i] >= 0) || math.IsInf(m.P[i], 1) {
			return bad(fmt.Sprintf("%s.P[%d]", at, i), m.P[i], "at least 0")
		}
		total += m.P[i]
	}
	if total == 0 {
		return bad(at+".P", "all 0", "over 0 somewhere")
	}
	return nil
}
