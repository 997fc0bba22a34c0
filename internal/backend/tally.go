package backend

import (
	"math"
	"slices"

	"motley/internal/earlyexit"
)

// tally keeps account of a staged batch: which rows still run, which have left
// and by which exit, and which calls have their answers.
type tally struct {
	calls []*Call
	rows  []int // by call; 0: it has an Err
	first []int // by call: its first row
	open  []int // by call: rows that have not left
	done  []bool
	exit  []int // by call: the latest exit that a row of it left by

	owner      []int // by row: its call
	left       []bool
	confidence []float32 // by row: of the exit that it left by; of the latest one until then

	sight   Sight
	leaving []int // of the latest exit: rows that left by it
	kept    []int // of the latest exit: rows that run on
}

// begin takes in a batch. Calls that have an Err take no part.
func (t *tally) begin(calls []*Call) {
	t.calls = append(t.calls[:0], calls...)
	t.rows, t.first, t.open, t.done, t.exit = t.rows[:0], t.first[:0], t.open[:0], t.done[:0], t.exit[:0]
	t.owner, t.left, t.confidence = t.owner[:0], t.left[:0], t.confidence[:0]
	for i, c := range calls {
		n := 0
		if c.Err == nil {
			n = c.Request.Size(true)
		}
		t.rows, t.first = append(t.rows, n), append(t.first, len(t.owner))
		t.open, t.done, t.exit = append(t.open, n), append(t.done, c.Err != nil), append(t.exit, 0)
		for range n {
			t.owner, t.left = append(t.owner, i), append(t.left, false)
			t.confidence = append(t.confidence, float32(math.NaN()))
		}
	}
	t.kept = t.kept[:0]
	for r := range t.owner {
		t.kept = append(t.kept, r)
	}
}

// present shows w an exit; signals are by running row.
func (t *tally) present(w Watcher, exit int, together bool, signals []earlyexit.Signal) {
	s := &t.sight
	s.Exit, s.Together, s.Signals = exit, together, signals
	s.Rows = append(s.Rows[:0], t.kept...)
	s.Leave = append(s.Leave[:0], make([]bool, len(s.Rows))...)
	s.Stop = append(s.Stop[:0], make([]bool, len(s.Rows))...)
	for k, r := range s.Rows {
		if !t.left[r] {
			t.confidence[r] = signals[k].Confidence
		}
	}
	w.At(s)
}

// look presents an exit and does what w says. At the last exit whatever has not
// left leaves. A call whose rows can only leave together leaves when w says so of
// all of them.
func (t *tally) look(w Watcher, exit int, last, together bool, signals []earlyexit.Signal) {
	t.present(w, exit, together, signals)
	s := &t.sight
	if together {
		t.all(s.Leave)
		t.all(s.Stop)
	}
	t.leaving, t.kept = t.leaving[:0], t.kept[:0]
	for k, r := range s.Rows {
		if (s.Leave[k] || last) && !t.left[r] {
			t.left[r] = true
			t.leaving = append(t.leaving, r)
			i := t.owner[r]
			t.open[i]--
			t.exit[i] = max(t.exit[i], exit)
		}
		if !s.Stop[k] || !t.left[r] {
			t.kept = append(t.kept, r)
		}
	}
}

// all clears what is not said of every running row of a call.
func (t *tally) all(said []bool) {
	for from := 0; from < len(said); {
		to := from
		for to < len(said) && t.owner[t.sight.Rows[to]] == t.owner[t.sight.Rows[from]] {
			to++
		}
		if slices.Contains(said[from:to], false) {
			clear(said[from:to])
		}
		from = to
	}
}

// complete tells that call i awaits nothing but its being written.
func (t *tally) complete(i int) bool { return !t.done[i] && t.open[i] == 0 }

// least is the lowest confidence of call i's rows; NaN where none is known.
func (t *tally) least(i int) float32 {
	least := float32(math.NaN())
	for _, c := range t.confidence[t.first[i]:][:t.rows[i]] {
		if !(c >= least) && c == c { // whatever is there beats NaN
			least = c
		}
	}
	return least
}

// release lets go of what belongs to others.
func (t *tally) release() {
	clear(t.calls)
	t.sight.Signals = nil
}

// grown is s with n elements, whatever they hold.
func grown[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }
