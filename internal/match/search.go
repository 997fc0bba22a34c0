package match

import "math"

// assign finds the shortest augmenting path from the row to a free column and
// takes it. It reports false, with the search as it ended, when no live
// column that is free can be reached.
func (s *Solver) assign(row int) bool {
	s.open = append(s.open[:0], s.columns[:s.live]...)
	s.scanned = s.scanned[:0]
	at := s.first(row)
	for {
		if at == none {
			return false
		}
		j := s.take(at)
		way := s.dist[j]
		if s.rowOf[j] == none {
			s.scanned = s.scanned[:len(s.scanned)-1] // the end is not a step
			s.reprice(row, way)
			s.augment(row, j)
			return true
		}
		at = s.relax(s.rowOf[j], way)
	}
}

// first measures the ways from the row alone; it returns where in open the
// nearest column is, none if all are forbidden.
func (s *Solver) first(row int) int {
	costs, u := s.cost[row*s.cols:(row+1)*s.cols], s.u[row]
	least, best := math.Inf(1), none
	for at, j := range s.open {
		d := costs[j] - u - s.v[j]
		s.dist[j], s.from[j] = d, row
		if d < least || d == least && best != none && s.rowOf[j] == none && s.rowOf[s.open[best]] != none {
			least, best = d, at
		}
	}
	return best
}

// relax shortens the ways to the open columns by those through the row, which
// lies at a distance of way; it returns where in open the nearest is, none if
// all are forbidden. Of columns as near, a free one is preferred: it ends the
// search.
func (s *Solver) relax(row int, way float64) int {
	costs, v := s.cost[row*s.cols:(row+1)*s.cols], s.v
	dist := s.dist[:len(v)]
	base := way - s.u[row]
	least, best := math.Inf(1), none
	for at, j := range s.open {
		d := dist[j]
		if through := base + (costs[j] - v[j]); through < d {
			d = through
			dist[j], s.from[j] = d, row
		}
		if d < least || d == least && best != none && s.rowOf[j] == none && s.rowOf[s.open[best]] != none {
			least, best = d, at
		}
	}
	return best
}

// take moves a column from open to scanned and returns it.
func (s *Solver) take(at int) int {
	j, last := s.open[at], len(s.open)-1
	s.open[at] = s.open[last]
	s.open = s.open[:last]
	s.scanned = append(s.scanned, j)
	return j
}

// reprice makes the ways of the search of a row, all of them shorter than or
// as long as way, ways of reduced cost 0.
func (s *Solver) reprice(row int, way float64) {
	s.u[row] += way
	for _, j := range s.scanned {
		s.u[s.rowOf[j]] += way - s.dist[j]
		s.v[j] -= way - s.dist[j]
	}
}

// augment gives the free column to the row before it on the way, that row's
// own column to the one before, and so on back to the row.
func (s *Solver) augment(row, free int) {
	for j := free; ; {
		i := s.from[j]
		s.rowOf[j] = i
		s.colOf[i], j = j, s.colOf[i]
		if i == row {
			return
		}
	}
}

// displace goes on where assign failed: the row stays unassigned, or takes the
// column of another that gives up its own at less cost.
func (s *Solver) displace(row int) {
	// The ways now lead to the rows' own columns at M: dist − u, and M.
	loser, way := none, -s.u[row]
	for _, j := range s.scanned {
		if w := s.dist[j] - s.u[s.rowOf[j]]; w < way {
			loser, way = j, w
		}
	}
	reached := len(s.scanned)
	s.open = append(s.open[:0], s.columns[s.live:]...)
	at := s.first(row)
	for _, j := range s.scanned[:reached] {
		at = s.relax(s.rowOf[j], s.dist[j])
	}
	for at != none && s.dist[s.open[at]] < way {
		j := s.take(at)
		i := s.rowOf[j]
		if w := s.dist[j] - s.u[i]; w < way {
			loser, way = j, w
		}
		at = s.relax(i, s.dist[j])
	}
	s.reprice(row, way)
	s.bury()
	if loser != none {
		s.colOf[s.rowOf[loser]] = none
		s.augment(row, loser)
	}
}

// bury moves the scanned columns that were live behind the live ones. dist
// serves as their mark: it is not needed any more.
func (s *Solver) bury() {
	for _, j := range s.scanned {
		s.dist[j] = math.NaN()
	}
	kept := 0
	for at, j := range s.columns[:s.live] {
		if !math.IsNaN(s.dist[j]) {
			s.columns[kept], s.columns[at] = j, s.columns[kept]
			kept++
		}
	}
	s.live = kept
}
