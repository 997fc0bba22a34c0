package pool

// sums are those of a weighted least-squares fit of y over x. A batch weighs
// 1/estimate², so that relative errors count, and less with age.
type sums struct {
	w, x, xx, y, xy float64
	n               float64 // batches, less with age
}

func (s *sums) add(x, y, estimate float64) {
	s.scale(lawDecay)
	w := 1 / (estimate * estimate)
	s.n++
	s.w += w
	s.x += w * x
	s.xx += w * x * x
	s.y += w * y
	s.xy += w * x * y
}

func (s *sums) scale(by float64) {
	s.w *= by
	s.x *= by
	s.xx *= by
	s.y *= by
	s.xy *= by
	s.n *= by
}

// solve returns the line of least squares with neither part negative. What
// the data leave open is decided by a default shape: the measured table as it
// stands, first its scale and then an added constant (seeded), else a cost of
// the mean batch that is half fixed and half per item. seen is the number of
// batches ever seen: the more, the less the table's own scale counts.
func (s *sums) solve(seeded bool, seen int) line {
	if s.w == 0 {
		return line{0, 1}
	}
	// In units of the mean x and y: y/ȳ = f + p·x/x̄.
	x, y := s.x/s.w, s.y/s.w
	xx, xy := s.xx/(s.w*x*x), s.xy/(s.w*x*y)
	a11, a12, a22, b1, b2 := 1.0, 1.0, xx, 1.0, xy
	if seeded {
		table := 4 / (1 + float64(seen)) / s.n
		a11 += ridge
		a22 += table
		b2 += table * x / y
	} else {
		a11 += ridge
		a12 -= ridge
		a22 += ridge
	}
	det := a11*a22 - a12*a12
	f := (b1*a22 - a12*b2) / det
	p := (a11*b2 - a12*b1) / det
	switch {
	case f < 0:
		f, p = 0, b2/a22
	case p < 0:
		f, p = b1/a11, 0
	}
	return line{f * y, p * y / x}
}

// fitPoints fits the measured points by items, each by its count of samples.
// One point alone is half fixed and half per item.
func fitPoints(points []Point) line {
	var s sums
	for _, pt := range points {
		m := float64(pt.Mean)
		w := float64(max(pt.Count, 1)) / (m * m)
		n := float64(pt.Batch)
		s.w += w
		s.x += w * n
		s.xx += w * n * n
		s.y += w * m
		s.xy += w * n * m
	}
	if len(points) > 1 {
		return s.exact()
	}
	return s.solve(false, 0)
}

// exact is the plain solution, of at least two different x; all per item where
// they are too close to tell.
func (s *sums) exact() line {
	det := s.w*s.xx - s.x*s.x
	if !(det > 1e-13*s.w*s.xx) {
		return line{0, s.xy / s.xx}
	}
	f := (s.y*s.xx - s.x*s.xy) / det
	p := (s.w*s.xy - s.x*s.y) / det
	switch {
	case f < 0:
		return line{0, s.xy / s.xx}
	case p < 0:
		return line{s.y / s.w, 0}
	}
	return line{f, p}
}
