// Package match solves the rectangular linear sum assignment problem: which
// rows (requests) go to which columns (workers) so that the sum of the costs
// is least.
//
// It guarantees that as many rows as can be are assigned, that the total is
// least among the assignments of that many, and that the same input gives the
// same answer, ties included.
package match

import "math"

// none marks a row without a column and a column without a row.
const none = -1

// Solver assigns rows to columns. The zero value is ready; its buffers grow
// to the largest problem seen and are used again, so that solving allocates
// nothing after that. A Solver is not safe for concurrent use.
//
// The algorithm is the modified Jonker–Volgenant one of D. F. Crouse, "On
// implementing 2D rectangular assignment algorithms", IEEE Transactions on
// Aerospace and Electronic Systems 52(4), 2016, as in SciPy's
// linear_sum_assignment: row by row a shortest augmenting path is sought over
// the reduced costs c − u − v. O(short²·long) for a matrix of those sides.
//
// Forbidden pairs go beyond the paper: each row has, in thought, a column of
// its own at a cost of M, larger than any sum of costs. A row that reaches no
// free column takes the way to the cheapest of these, and the row whose it is
// stays unassigned. The rows and columns that such a search has seen are from
// then on dead: their prices contain M (u + M, v − M), of which only the
// finite part is kept. A live row comes to a dead column only when nothing else
// is left, a dead row has no finite cost to a live column.
type Solver struct {
	cost []float64 // row-major, rows ≤ cols; the caller's, or table
	cols int

	table []float64 // transposed or cleaned costs

	u, v    []float64 // prices of rows and columns: c − u − v ≥ 0, = 0 where assigned
	colOf   []int     // by row
	rowOf   []int     // by column
	columns []int     // all columns: the live ones, then the dead
	live    int       // how many of columns are live

	// Of one search:
	dist    []float64 // by column: the shortest way there so far
	from    []int     // by column: the row before it on that way
	open    []int     // columns not yet scanned
	scanned []int     // columns scanned, in order; the rows are theirs

	answer []int
}

// Solve returns the column of each row, or −1 for a row left unassigned. cost
// is row-major, rows × cols. Any cost that is not finite is forbidden: +Inf,
// and so are NaN and −Inf. Finite costs may be negative; beyond 1e300 or so
// their sums overflow.
//
// With more rows than columns, or rows that forbidden pairs leave without a
// column, as many rows as possible are assigned, at the least total of all the
// choices of that many; no error is made of it. Of equal costs the lower
// indices are preferred where that costs no search.
//
// The answer belongs to the Solver and is valid until the next call. Solve
// panics when cost has not rows·cols elements.
func (s *Solver) Solve(cost []float64, rows, cols int) []int {
	if rows < 0 || cols < 0 || len(cost) != rows*cols {
		panic("BUG: match: costs are not rows × cols")
	}
	s.answer = resize(s.answer, rows)
	for i := range s.answer {
		s.answer[i] = none
	}
	if rows == 0 || cols == 0 {
		return s.answer
	}
	if rows <= cols {
		s.start(s.clean(cost), rows, cols)
		s.run()
		copy(s.answer, s.colOf)
		return s.answer
	}
	s.start(s.transpose(cost, rows, cols), cols, rows)
	s.run()
	for j, i := range s.colOf {
		if i != none {
			s.answer[i] = j
		}
	}
	return s.answer
}

// Total returns the sum of the costs of an answer of Solve, and how many rows
// it assigns.
func Total(cost []float64, cols int, answer []int) (total float64, assigned int) {
	for i, j := range answer {
		if j != none {
			total += cost[i*cols+j]
			assigned++
		}
	}
	return total, assigned
}

// clean returns the costs with +Inf for those that are not numbers or −Inf;
// +Inf compares as the search needs it.
func (s *Solver) clean(cost []float64) []float64 {
	for i, c := range cost {
		if !(c >= -math.MaxFloat64) { // the negation catches NaN
			s.table = resize(s.table, len(cost))
			copy(s.table, cost[:i])
			for k, c := range cost[i:] {
				s.table[i+k] = usable(c)
			}
			return s.table
		}
	}
	return cost
}

func (s *Solver) transpose(cost []float64, rows, cols int) []float64 {
	s.table = resize(s.table, len(cost))
	for i := range rows {
		for j, c := range cost[i*cols : (i+1)*cols] {
			s.table[j*rows+i] = usable(c)
		}
	}
	return s.table
}

func usable(c float64) float64 {
	if !(c >= -math.MaxFloat64) {
		return math.Inf(1)
	}
	return c
}

func (s *Solver) start(cost []float64, rows, cols int) {
	s.cost, s.cols, s.live = cost, cols, cols
	s.u, s.v = resize(s.u, rows), resize(s.v, cols)
	s.colOf, s.rowOf = resize(s.colOf, rows), resize(s.rowOf, cols)
	s.columns, s.dist, s.from = resize(s.columns, cols), resize(s.dist, cols), resize(s.from, cols)
	s.open, s.scanned = resize(s.open, cols), resize(s.scanned, cols)[:0]
	for i := range s.colOf {
		s.colOf[i] = none
	}
	clear(s.u)
	clear(s.v)
	for j := range s.rowOf {
		s.rowOf[j], s.columns[j] = none, j
	}
}

func (s *Solver) run() {
	for row := range s.colOf {
		if !s.assign(row) {
			s.displace(row)
		}
	}
	s.cost = nil // the caller's, not to be kept alive
}

// resize returns a slice of length n with whatever content.
func resize[T any](old []T, n int) []T {
	if cap(old) < n {
		return make([]T, n, n+n/4)
	}
	return old[:n]
}
