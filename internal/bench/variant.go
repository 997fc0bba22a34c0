package bench

import (
	"fmt"

	"motley/internal/dispatch"
)

// Variant is a policy as it stands in a comparison.
type Variant struct {
	Name string
	// New makes the policy in its initial state.
	New func(seed uint64) dispatch.Policy
	// Alone: requests are never merged.
	Alone bool
}

// NewVariant is the policy of that name. alone: it never merges requests; late:
// it turns none away for want of time.
func NewVariant(name string, alone, late bool) (Variant, error) {
	if _, err := dispatch.NewPolicy(name, 0); err != nil {
		return Variant{}, &usageError{"-policy: " + err.Error()}
	}
	label := name
	if alone {
		label += ", no merging"
	}
	if late {
		label += ", no drop"
	}
	return Variant{Name: label, Alone: alone, New: func(seed uint64) dispatch.Policy {
		p, err := dispatch.NewPolicy(name, seed)
		if err != nil {
			panic("BUG: " + err.Error()) // the name was tried above
		}
		if late {
			return undropping{p}
		}
		return p
	}}, nil
}

// undropping is a policy under which nobody is turned away for want of time,
// as in published simulators.
type undropping struct{ dispatch.Policy }

func (u undropping) Traits() dispatch.Traits {
	t := u.Policy.Traits()
	t.Late, t.Plans = true, false
	return t
}

// mustVariant is NewVariant for names that are known to be right.
func mustVariant(label, policy string, alone, late bool) Variant {
	v, err := NewVariant(policy, alone, late)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	v.Name = label
	return v
}

// motley is Motley's own policy, alone without merging.
func motley(alone bool) Variant {
	v := Variant{Name: "priced", New: func(uint64) dispatch.Policy { return dispatch.NewPriced(dispatch.PricedOptions{NoMerge: alone}) }}
	if alone {
		v.Name += ", no merging"
	}
	return v
}

// thresholdAt is the policy size-threshold with that threshold, in items.
func thresholdAt(items int) Variant {
	return mustVariant("size-threshold", fmt.Sprintf("size-threshold=%d", items), true, true)
}
