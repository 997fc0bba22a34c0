package planner

import (
	"fmt"
	"math"
	"sort"
	"time"
)

const (
	defaultQuantile   = 0.99
	defaultCandidates = 20
	// maxClasses is how many size classes the programs have, over all models:
	// more make them slower and, since latencies bend little between two sizes
	// that are 1/50 of the requests apart, hardly better.
	maxClasses = 200
	// manyWorkers is from where on another instance of a type no longer makes
	// its batches larger.
	manyWorkers = 64
)

// class is requests of one model and about one size.
type class struct {
	model    int
	from, to int     // items
	share    float64 // of all requests
	items    float64 // their mean size
}

// runs is what is known of a model on a type. Times are in seconds.
type runs struct {
	// item is the least cost of an item in any batch within QoS, +Inf if there is
	// none: what bounds batching.
	item float64
	// batch[n−1] is the batch to reckon with on n instances, in items, and
	// perItem[n−1] what an item costs in it: 0 and +Inf if there is none. A
	// request waits for up to a batch's turn, 1/n of its time, before its own,
	// so it is the best of those with l(B)(1 + 1/n) ≤ QoS (Symphony's rule). The
	// last entry is for any number more.
	batch   [manyWorkers]int
	perItem [manyWorkers]float64
}

// table is the problem in numbers: what each class costs where.
type table struct {
	p       *Problem
	types   int
	classes []class
	share   []float64 // of the classes
	shed    float64   // the share of all requests that may be sacrificed
	// lone is what a class costs alone in seconds, +Inf where its mean is over
	// QoS; safe the same, +Inf where its bound is, unless it can run in parts.
	lone, safe []float64
	// parts is the least size of a class that runs only in parts, 0 if none does.
	parts []int
	// most is the largest batch of a model on a type whose bound is within QoS,
	// in items; of models that may be split only.
	most   []int
	runs   []runs    // models × types
	models []float64 // the models' shares of the requests
	mean   []float64 // the models' mean sizes
}

func newTable(p *Problem) (*table, error) {
	t := &table{p: p, types: len(p.Types)}
	total := 0.0
	for i := range p.Models {
		total += weight(&p.Models[i])
	}
	for i := range p.Models {
		m := &p.Models[i]
		t.models = append(t.models, weight(m)/total)
		t.shed += t.models[i] * (1 - quantile(m))
		if err := t.addClasses(i); err != nil {
			return nil, err
		}
	}
	for i := range p.Models {
		for j := range p.Types {
			t.runs = append(t.runs, t.measure(i, j))
			m, most := &p.Models[i], 0
			if m.Split {
				most = t.largest(i, j, maxBatch(m), m.QoS)
			}
			t.most = append(t.most, most)
		}
	}
	return t, nil
}

func weight(m *Model) float64 {
	if m.Share == 0 {
		return 1
	}
	return m.Share
}

func quantile(m *Model) float64 {
	if m.Quantile == 0 {
		return defaultQuantile
	}
	return m.Quantile
}

func maxBatch(m *Model) int {
	if m.MaxBatch == 0 {
		return m.Sizes[len(m.Sizes)-1]
	}
	return m.MaxBatch
}

// addClasses makes classes of the model's sizes, of about equal shares where
// there are too many. What a class costs is the mean of its sizes'; a type
// serves all of a class or none.
func (t *table) addClasses(model int) error {
	m := &t.p.Models[model]
	total := 0.0
	for _, p := range m.P {
		total += p
	}
	most := max(1, maxClasses/len(t.p.Models))
	least := 0.0
	if len(m.Sizes) > most {
		least = total / float64(most)
	}
	lone, safe, parts := make([]float64, t.types), make([]float64, t.types), make([]int, t.types)
	var c class
	sum := 0.0
	for i, n := range m.Sizes {
		p := m.P[i]
		if p == 0 {
			continue
		}
		if sum == 0 {
			c = class{model: model, from: n}
			clear(lone)
			clear(safe)
			clear(parts)
		}
		served, sure := false, false
		for j := range t.types {
			mean, bound := t.p.Latency(model, j, n)
			if mean < 0 || bound < 0 {
				return fmt.Errorf("cannot plan: Latency of %s on %s with %d items is %v (bound %v): must not be negative",
					m.Name, t.p.Types[j].Name, n, mean, bound)
			}
			if mean == 0 || mean > m.QoS {
				lone[j] = math.Inf(1)
			} else {
				served = true
			}
			lone[j] += p * mean.Seconds()
			if mean == 0 || max(mean, bound) > m.QoS {
				if mean = t.inParts(model, j, n); mean > 0 && parts[j] == 0 {
					parts[j] = n
				}
			}
			if mean == 0 {
				safe[j] = math.Inf(1)
			} else {
				served, sure = served || m.Split, true
			}
			safe[j] += p * mean.Seconds()
		}
		if !served {
			return fmt.Errorf("cannot plan: Models[%d] (%s).Sizes[%d]: no type runs %d items within QoS %v", model, m.Name, i, n, m.QoS)
		}
		if !sure {
			// The share that may miss the QoS has to do.
			copy(safe, lone)
		}
		c.to = n
		c.items += p * float64(n)
		sum += p
		if sum >= least {
			t.closeClass(&c, sum, total, lone, safe, parts)
			sum = 0
		}
	}
	if sum > 0 {
		t.closeClass(&c, sum, total, lone, safe, parts)
	}
	mean := 0.0
	for i, n := range m.Sizes {
		mean += m.P[i] / total * float64(n)
	}
	t.mean = append(t.mean, mean)
	return nil
}

func (t *table) closeClass(c *class, sum, total float64, lone, safe []float64, parts []int) {
	c.items /= sum
	c.share = sum / total * t.models[c.model]
	t.classes = append(t.classes, *c)
	t.share = append(t.share, c.share)
	for j := range t.types {
		t.lone = append(t.lone, lone[j]/sum)
		t.safe = append(t.safe, safe[j]/sum)
	}
	t.parts = append(t.parts, parts...)
}

// measure finds the batches of a model on a type: all sizes, or those about
// 1 % apart where there are many.
func (t *table) measure(model, typ int) runs {
	m := &t.p.Models[model]
	most := maxBatch(m)
	r := runs{item: math.Inf(1)}
	var items []int
	var cost []float64 // the least per item, of batches up to items
	for b := 1; b <= most; b = max(b+1, min(b+b/100, most)) {
		mean, _ := t.p.Latency(model, typ, b)
		if mean <= 0 || mean > m.QoS {
			break
		}
		r.item = min(r.item, mean.Seconds()/float64(b))
		items, cost = append(items, b), append(cost, r.item)
	}
	for n := 1; n <= manyWorkers; n++ {
		wait := 1 + 1/float64(n)
		if n == manyWorkers {
			wait = 1
		}
		limit := t.largest(model, typ, most, time.Duration(float64(m.QoS)/wait))
		at := sort.SearchInts(items, limit+1) - 1
		if at < 0 {
			r.perItem[n-1] = math.Inf(1)
			continue
		}
		// A larger batch that costs as much per item is none to reckon with.
		r.perItem[n-1] = cost[at]
		r.batch[n-1] = items[sort.Search(at, func(k int) bool { return cost[k] <= cost[at] })]
	}
	return r
}

// inParts is what a type takes for n items in as few equal parts as are within
// QoS; 0 where it cannot, or may not.
func (t *table) inParts(model, typ, n int) time.Duration {
	m := &t.p.Models[model]
	if !m.Split {
		return 0
	}
	most := t.largest(model, typ, min(n, maxBatch(m)), m.QoS)
	if most == 0 {
		return 0
	}
	parts := (n + most - 1) / most
	mean, _ := t.p.Latency(model, typ, (n+parts-1)/parts)
	return time.Duration(parts) * mean
}

// joins is false where the instances cannot run all parts of large requests at
// once, each the largest that is within QoS, of more requests than may be
// sacrificed. What each type costs alone does not show it.
func (t *table) joins(instances []float64) bool {
	missed := 0.0
	for m := range t.p.Models {
		sizes := t.p.Models[m].Sizes
		if !t.p.Models[m].Split {
			continue
		}
		room := 0.0
		for j, n := range instances {
			room += math.Ceil(n-1e-9) * float64(t.most[m*t.types+j]) // spot instances as if they were there
		}
		if room >= float64(sizes[len(sizes)-1]) {
			continue
		}
		for i := range t.classes {
			if c := &t.classes[i]; c.model == m && float64(c.from) > room && !t.whole(i, instances) {
				missed += c.share
			}
		}
	}
	return missed <= t.shed+1e-9
}

// whole reports whether some instance runs all of class i in one piece.
func (t *table) whole(i int, instances []float64) bool {
	for j, n := range instances {
		if k := i*t.types + j; n > 0 && t.parts[k] == 0 && !math.IsInf(t.safe[k], 1) {
			return true
		}
	}
	return false
}

// largest is the largest batch whose bound is within limit, 0 if none is.
func (t *table) largest(model, typ, most int, limit time.Duration) int {
	lo, hi := 0, most+1
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if mean, bound := t.p.Latency(model, typ, mid); mean > 0 && max(mean, bound) <= limit {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}
