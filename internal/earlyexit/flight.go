package earlyexit

// flight counts exits that are not learned of yet, by their answer.
//
// Rows that follow each other in a video are right or wrong together, and
// while the first of them is in flight nothing tells which. A burst of losses
// does to a window what as many do that come apart, and comes without warning:
// k rows with correlation ρ have 1 + (k − 1)ρ times the variance of as many
// independent ones (Kish's design effect, "Survey sampling", 1965, §5.4). So
// the risk of the k-th counts for that many.
type flight struct {
	exits [classSlots]int
	n     int // their sum
}

// alike is for how many times its risk an exit with this answer counts.
func (f *flight) alike(class int32, correlation float64) float64 {
	if class < 0 {
		return 1
	}
	return 1 + max(0, min(1, correlation))*float64(f.exits[class%classSlots])
}

func (f *flight) leave(class int32) {
	if class >= 0 {
		f.exits[class%classSlots]++
		f.n++
	}
}

// land takes in that an exit was learned of, when pending rows are still in
// flight.
func (f *flight) land(class int32, pending uint64) {
	if class >= 0 && f.exits[class%classSlots] > 0 {
		f.exits[class%classSlots]--
		f.n--
	}
	if uint64(f.n) > pending { // exits were decided on that did not come about
		*f = flight{}
	}
}
