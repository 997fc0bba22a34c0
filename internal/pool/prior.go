package pool

// Suppose lets another profile's estimates stand in for this one's until the
// first batch of its own is observed, so that an unknown instance type is not
// taken for infinitely fast. The slowest known type of the model is the
// careful choice; see Slowest.
//
// Known, Settled, Samples and Affine keep telling what is known of this type
// itself: the supposition is no ground to turn work away by. like is read, not
// copied, so that what it learns counts at once. Nothing happens when this
// profile is known, has a prior (see Expect), or like is not known; nil ends the
// supposition, and the prior.
func (p *Profile) Suppose(like *Profile) {
	if like == nil {
		p.like, p.prior = nil, false
		return
	}
	if !p.prior && !p.Known() && like.Known() {
		p.like = like
	}
}

// Expect is Suppose with a prior: what was computed for this very type, which is
// better than any other type's. Suppose does not replace it.
func (p *Profile) Expect(prior *Profile) {
	if !p.Known() && prior.Known() {
		p.like, p.prior = prior, true
	}
}

// Supposed reports whether another profile's estimates stand in.
func (p *Profile) Supposed() bool { return p.like != nil && !p.Known() }

// Prior reports whether what stands in is a prior.
func (p *Profile) Prior() bool { return p.prior && p.Supposed() }

// Slowest returns the profile with the largest mean for n items of those that
// are known, the first of equals, or nil. Nil profiles are passed over.
func Slowest(profiles []*Profile, n int) *Profile {
	var slowest *Profile
	for _, p := range profiles {
		if p != nil && p.Known() && (slowest == nil || p.Mean(n) > slowest.Mean(n)) {
			slowest = p
		}
	}
	return slowest
}
