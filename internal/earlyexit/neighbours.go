package earlyexit

import "math"

// remembered is how many of the last rows are compared with a new one: enough
// for a picture that comes again within a few frames.
const remembered = 8

// neighbour is what a row that ran to the end showed and what came of it.
type neighbour struct {
	seen  uint32 // by ramp, as bits
	agree uint32
	final int32 // the full model's answer, −1: unknown
	odds  [MaxRamps]float32
	class [MaxRamps]int32
}

type neighbours struct {
	rows [remembered]neighbour
	next int
}

func (m *neighbours) add(o *Outcome) {
	n := &m.rows[m.next]
	m.next = (m.next + 1) % remembered
	n.seen, n.agree, n.final = 0, o.Agree, o.Class
	for r, s := range o.Signals {
		if s.Seen() {
			n.seen |= 1 << r
			n.odds[r], n.class[r] = float32(confidenceOdds(s.Confidence)), s.Class
		}
	}
}

// vote asks the rows that looked alike up to ramp r whether the ramp was wrong
// of them, and whether the full model's answer was the one that the ramp gives
// now: each from −1 (no) over 0 (no such row) to 1 (yes). near is how many rows
// looked like it.
func (m *neighbours) vote(signals []Signal, odds *[MaxRamps]float32, r int) (wrong, class, near float64) {
	for j := range m.rows {
		n := &m.rows[j]
		if n.seen>>r&1 == 0 {
			continue
		}
		apart, k := float32(0), float32(0)
		for q := range r + 1 {
			if n.seen>>q&1 == 0 || odds[q] == noOdds {
				continue
			}
			apart += max(odds[q]-n.odds[q], n.odds[q]-odds[q])
			if signals[q].Class != n.class[q] {
				apart++
			}
			k++
		}
		w := math.Exp(-2 * float64(apart/k))
		near += w
		if n.agree>>r&1 == 0 {
			wrong += w
		} else {
			wrong -= w
		}
		switch {
		case signals[r].Class < 0 || n.final < 0:
		case signals[r].Class == n.final:
			class += w
		default:
			class -= w
		}
	}
	return wrong / (near + 0.1), class / (near + 0.1), near
}
