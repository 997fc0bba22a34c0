package roofline

import (
	"fmt"
	"math"
	"strings"
	"time"

	"motley/internal/pool"
)

// Type is an instance type.
type Type struct {
	Name   string
	Device *Device // nil: nobody said what it is
	Count  int     // GPUs, or cores, that a batch runs on; 0 = 1
	// Profile is what is known of the model there; nil, or one that is not Known,
	// where it was never measured.
	Profile *pool.Profile
}

func (t *Type) known() bool { return t.Profile != nil && t.Profile.Known() }

// Prior is what may be expected of a type that was never measured.
type Prior struct {
	Points []pool.Point // by rising batch; none: see Why
	From   []string     // the measured types that it is scaled from; none: by peak rates alone
	// Error is by what factor such priors are off, on average, for the types of From,
	// each predicted from the others, and Slowest by what factor the slowest of the
	// other types is. 0: there are fewer than two.
	Error, Slowest float64
	Why            string // there is no prior
}

// The 99th percentile of a prior is this times the mean: as much as a batch may
// scatter, times what a prior may be off.
const (
	scatter = 1.6
	oneOff  = 1.5 // scaled from a single type: see the tests
	farOff  = 2.5 // by peak rates alone
)

// Priors returns one for each of the types; it is empty for those that are measured.
// largest is the most items of a batch.
//
// Only types of the same class count, and where they are two or more, the prior has to
// be better for these, each predicted from the others, than the slowest of the other types
// is, which pool.Suppose takes otherwise. Where nothing at all was measured, peak rates
// tell the types apart, if all are of one class.
func Priors(c Cost, types []Type, largest int) []Prior {
	all := make([]Prior, len(types))
	sizes := sizesTo(largest)
	anything := false
	for i := range types {
		anything = anything || types[i].known()
	}
	for i := range types {
		t, p := &types[i], &all[i]
		switch {
		case t.known():
			continue
		case t.Device == nil:
			p.Why = "its hardware is not said"
			continue
		case !c.Known():
			p.Why = "the cost of the model is not known"
			continue
		}
		peers := peersOf(types, t)
		for _, k := range peers {
			p.From = append(p.From, k.Name)
		}
		off := farOff
		switch {
		case len(peers) == 0 && anything:
			p.Why = fmt.Sprintf("no %s whose hardware is said was measured, and other hardware tells nothing of it", t.Device.Class)
			continue
		case len(peers) == 0 && !alike(types):
			p.Why = "nothing was measured, and the types are not all of one class"
			continue
		case len(peers) == 1:
			off = oneOff
		case len(peers) > 1:
			p.Error, p.Slowest = check(c, peers, types, sizes)
			if p.Error >= p.Slowest {
				p.Why = fmt.Sprintf("for %s it would be off by ×%.2f, and the slowest other type is by ×%.2f", strings.Join(p.From, ", "), p.Error, p.Slowest)
				continue
			}
			off = p.Error
		}
		mean := 0.0
		for _, n := range sizes {
			mean = max(mean, estimate(c, t, peers, n)) // a larger batch is not quicker
			p.Points = append(p.Points, pool.Point{Batch: n, Mean: duration(mean), P99: duration(mean * scatter * off)})
		}
	}
	return all
}

// peersOf are the measured types of t's class.
func peersOf(types []Type, t *Type) []*Type {
	var peers []*Type
	for i := range types {
		k := &types[i]
		if k != t && k.known() && k.Device != nil && k.Device.Class == t.Device.Class {
			peers = append(peers, k)
		}
	}
	return peers
}

// alike reports whether the hardware of all types is said, and of one class.
func alike(types []Type) bool {
	for i := range types {
		if d := types[i].Device; d == nil || d.Class != types[0].Device.Class {
			return false
		}
	}
	return true
}

// estimate is the mean of a batch on t in ns: the geometric mean of what each peer
// says, or the plain estimate where there is none.
func estimate(c Cost, t *Type, peers []*Type, items int) float64 {
	own := c.Estimate(t.Device, max(t.Count, 1), items)
	if len(peers) == 0 {
		return own
	}
	sum := 0.0
	for _, k := range peers {
		sum += math.Log(scaled(k, own/c.Estimate(k.Device, max(k.Count, 1), items), items))
	}
	return math.Exp(sum / float64(len(peers)))
}

// scaled is what a peer took, in ns, for a type that takes ratio times as long. What
// a batch on a GPU takes whatever its size is mostly the host's, which a faster
// GPU does not shorten.
func scaled(k *Type, ratio float64, items int) float64 {
	took := float64(k.Profile.Mean(items))
	if k.Device.Class == GPU && ratio < 1 {
		_, per := k.Profile.Affine()
		return max(took-(1-ratio)*float64(per)*float64(items), ratio*took)
	}
	return ratio * took
}

// check predicts each peer from the others, as a prior and as the slowest of all
// other types, and returns by what factor both are off, on average over sizes and
// peers.
func check(c Cost, peers []*Type, types []Type, sizes []int) (prior, slowest float64) {
	for _, t := range peers {
		var others []*Type
		for _, k := range peers {
			if k != t {
				others = append(others, k)
			}
		}
		var known []*pool.Profile
		for i := range types {
			if k := &types[i]; k != t && k.known() {
				known = append(known, k.Profile)
			}
		}
		slow := pool.Slowest(known, sizes[len(sizes)-1])
		for _, n := range sizes {
			took := float64(t.Profile.Mean(n))
			prior += math.Abs(math.Log(estimate(c, t, others, n) / took))
			slowest += math.Abs(math.Log(float64(slow.Mean(n)) / took))
		}
	}
	n := float64(len(peers) * len(sizes))
	return math.Exp(prior / n), math.Exp(slowest / n)
}

// defaultLargest is where nobody says how large batches get.
const defaultLargest = 64

// sizesTo are the powers of two up to largest, and largest.
func sizesTo(largest int) []int {
	if largest < 1 {
		largest = defaultLargest
	}
	var sizes []int
	for n := 1; n < largest; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, largest)
}

// longest keeps a time of hours from overflowing.
const longest = float64(1000 * time.Hour)

func duration(ns float64) time.Duration { return max(1, time.Duration(min(ns, longest))) }
