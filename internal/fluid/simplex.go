package fluid

import "math"

// improve takes steps until no price tells of a gain. It reports whether it
// came to that end.
func (s *Solver) improve() bool {
	most := s.steps + 200 + 20*(s.classes+s.rows)
	s.reprice()
	for k := 0; k < len(s.near); k++ {
		n := &s.near[k]
		a, b := int(n.class), int(n.to)
		key := s.key[a]
		row := s.cost[a*s.types : (a+1)*s.types]
		if s.y[b]*row[b] < s.y[key]*row[key]*(1-margin) {
			if !s.step(a, b, most) {
				return false
			}
			k = -1
		}
	}
	for {
		// Of all classes those that gain most take a step; prices change on the
		// way, so each looks again.
		top := 0.0
		for a := range s.classes {
			_, g := s.cheaper(a)
			s.gain[a] = g
			top = max(top, g)
		}
		if top == 0 {
			return true
		}
		for a := range s.classes {
			if s.gain[a] < topShare*top {
				continue
			}
			if b, g := s.cheaper(a); g > 0 {
				if !s.step(a, b, most) {
					return false
				}
			}
		}
	}
}

// topShare is the share of the best gain from which on a class takes a step.
const topShare = 0.6

// cheaper returns the type on which class a would cost least, if that is less
// than on its key, and by how much that would raise the rate if all went there.
func (s *Solver) cheaper(a int) (b int, gained float64) {
	row := s.cost[a*s.types : (a+1)*s.types]
	key := s.key[a]
	now := s.y[key] * row[key]
	best := cheapest(row, s.y)
	least := s.y[best] * row[best]
	if !(least < now*(1-margin)) {
		return -1, 0
	}
	return best, s.share[a] * (now - least)
}

func (s *Solver) step(a, b, most int) bool {
	s.column(a, b)
	return s.enter(a, b) && s.steps <= most && s.relax(most)
}

// relax lets slacks in whose price is negative: rows that are full although
// that costs.
func (s *Solver) relax(most int) bool {
	for {
		s.reprice()
		pi := s.inv[s.lambda*s.stride : s.lambda*s.stride+s.rows]
		worst, least := -1, -margin*s.inv[s.lambda*s.stride+s.rows]
		for r, p := range pi {
			if p < least {
				worst, least = r, p
			}
		}
		if worst < 0 {
			return true
		}
		for q := range s.rows {
			s.d[q] = s.inv[q*s.stride+worst]
		}
		if !s.enter(slack, worst) || s.steps > most {
			return false
		}
	}
}

// reprice reads the prices off the inverse. A negative one counts as 0 until
// relax has dealt with it.
func (s *Solver) reprice() {
	pi := s.inv[s.lambda*s.stride : s.lambda*s.stride+s.rows]
	if s.money < 0 {
		for b := range s.y {
			s.y[b] = max(pi[b], 0)
		}
		return
	}
	for b := range s.y {
		s.y[b] = max(pi[b]+s.price[b]*pi[s.money], 0)
	}
}

// column sets d to the column of the flow of class a on type b, less that of
// the class's key, in terms of the basis.
func (s *Solver) column(a, b int) {
	k := int(s.key[a])
	c, ck := s.cost[a*s.types+b], s.cost[a*s.types+k]
	if s.money < 0 {
		for q := range s.rows {
			row := s.inv[q*s.stride : (q+1)*s.stride]
			s.d[q] = row[b]*c - row[k]*ck
		}
		return
	}
	m := c*s.price[b] - ck*s.price[k]
	for q := range s.rows {
		row := s.inv[q*s.stride : (q+1)*s.stride]
		s.d[q] = row[b]*c - row[k]*ck + row[s.money]*m
	}
}

// enter brings the flow of class a on type b, or for a = slack the slack of row
// b, into the basis; d is its column. What reaches 0 first leaves. It reports
// false when nothing does.
func (s *Solver) enter(a, b int) bool {
	s.steps++
	dl := s.d[s.lambda]
	xl := s.inv[s.lambda*s.stride+s.rows]
	for _, i := range s.of {
		if i >= 0 {
			s.sumD[i], s.sumX[i] = 0, 0
		}
	}
	if a >= 0 {
		s.sumD[a], s.sumX[a] = -1, 0 // as the entering flow rises the key's falls
	}
	for q, i := range s.of {
		if i >= 0 {
			s.sumD[i] += s.d[q]
			s.sumX[i] += s.inv[q*s.stride+s.rows]
		}
	}
	// out is the place that leaves; or the key of a class does: by way of out,
	// where its class has another flow, else a itself moves over.
	out, least, keyOf := -1, math.Inf(1), int32(-1)
	for q, i := range s.of {
		if i == lambda {
			continue
		}
		if d := s.d[q]; d > tiny {
			if t := max(s.inv[q*s.stride+s.rows], 0) / d; t < least {
				out, least, keyOf = q, t, -1
			}
		}
		if i >= 0 {
			if g := dl*s.share[i] - s.sumD[i]; g > tiny {
				if t := max(xl*s.share[i]-s.sumX[i], 0) / g; t < least {
					out, least, keyOf = q, t, i
				}
			}
		}
	}
	if a >= 0 {
		if g := dl*s.share[a] - s.sumD[a]; g > tiny {
			if t := max(xl*s.share[a]-s.sumX[a], 0) / g; t < least {
				out, least, keyOf = -1, t, int32(a)
				for q, i := range s.of {
					if i == int32(a) {
						out = q
					}
				}
			}
		}
	}
	if math.IsInf(least, 1) {
		return false
	}
	if out < 0 {
		// The class has no other flow: the new one is its key, which changes the
		// column of λ alone.
		for q := range s.d {
			s.d[q] *= s.share[a]
		}
		s.d[s.lambda]++
		s.key[a] = int32(b)
		s.eliminate(s.lambda)
		return true
	}
	if keyOf >= 0 {
		s.swapKey(out)
		if int(keyOf) == a {
			s.column(a, b) // relative to the new key
		}
	}
	s.of[out], s.at[out] = int32(a), int32(b)
	s.eliminate(out)
	return true
}

// swapKey makes the flow in place q the key of its class; the old key takes its
// place. The column of place q then is that of the old key less that of the
// new; those of the class's other flows, and λ's, change by multiples of it,
// so that in the inverse, and in d, only row q does.
func (s *Solver) swapKey(q int) {
	a := s.of[q]
	share := s.share[a]
	row := s.inv[q*s.stride : (q+1)*s.stride]
	from := s.inv[s.lambda*s.stride : (s.lambda+1)*s.stride]
	for r := range row {
		row[r] = share*from[r] - row[r]
	}
	s.d[q] = share*s.d[s.lambda] - s.d[q]
	for o, i := range s.of {
		if i != a || o == q {
			continue
		}
		other := s.inv[o*s.stride : (o+1)*s.stride]
		for r := range row {
			row[r] -= other[r]
		}
		s.d[q] -= s.d[o]
	}
	s.key[a], s.at[q] = s.at[q], s.key[a]
}

// eliminate makes d the column of place out.
func (s *Solver) eliminate(out int) {
	row := s.inv[out*s.stride : (out+1)*s.stride]
	f := 1 / s.d[out]
	for r := range row {
		row[r] *= f
	}
	for q, d := range s.d {
		if q == out || d == 0 {
			continue
		}
		other := s.inv[q*s.stride : (q+1)*s.stride]
		for r, v := range row {
			other[r] -= d * v
		}
	}
}

// refactor computes the inverse afresh from the basis. It reports false when
// the basis has become singular.
func (s *Solver) refactor() bool {
	n, w := s.rows, s.stride
	clear(s.inv)
	m := make([]float64, n*n) // rare, so no buffer is kept
	add := func(q int, f float64, a, b int32) {
		c := f * s.cost[int(a)*s.types+int(b)]
		m[int(b)*n+q] += c
		if s.money >= 0 {
			m[s.money*n+q] += c * s.price[b]
		}
	}
	for q, a := range s.of {
		switch a {
		case slack:
			m[int(s.at[q])*n+q] = 1
		case lambda:
			for i := range s.classes {
				add(q, s.share[i], int32(i), s.key[i])
			}
			if s.shed >= 0 {
				m[s.shed*n+q] -= s.spare
			}
		default:
			add(q, 1, a, s.at[q])
			add(q, -1, a, s.key[a])
		}
	}
	for r := range n {
		s.inv[r*w+r], s.inv[r*w+n], s.inv[r*w+n+1] = 1, s.bent[r], s.capacity[r]
	}
	for c := range n {
		best := c
		for r := c; r < n; r++ {
			if math.Abs(m[r*n+c]) > math.Abs(m[best*n+c]) {
				best = r
			}
		}
		pivot := m[best*n+c]
		if math.Abs(pivot) < tiny {
			return false
		}
		for k := range n {
			m[best*n+k], m[c*n+k] = m[c*n+k], m[best*n+k]
			m[c*n+k] /= pivot
		}
		for k := range w {
			s.inv[best*w+k], s.inv[c*w+k] = s.inv[c*w+k], s.inv[best*w+k]
			s.inv[c*w+k] /= pivot
		}
		for r := range n {
			f := m[r*n+c]
			if r == c || f == 0 {
				continue
			}
			for k := range n {
				m[r*n+k] -= f * m[c*n+k]
			}
			for k := range w {
				s.inv[r*w+k] -= f * s.inv[c*w+k]
			}
		}
	}
	return true
}
