package chaos

import (
	"fmt"
	"strings"
	"time"
)

// bucket is how fine goodput is looked at.
const bucket = 100 * time.Millisecond

// buckets are how many requests that are owed an answer were due in each
// bucket, how many of them have an outcome, and how many were answered within
// target, from when the client came to send them: how late it is itself says
// nothing of the router.
func buckets(records []Record, target time.Duration) (due, settled, good []int) {
	for i := range records {
		r := &records[i]
		if !r.ordinary() {
			continue
		}
		k := int(r.At / bucket)
		for len(due) <= k {
			due, settled, good = append(due, 0), append(settled, 0), append(good, 0)
		}
		due[k]++
		if r.Outcome != Pending {
			settled[k]++
		}
		if r.Outcome == Answered && r.Done-r.Sent <= target {
			good[k]++
		}
	}
	return due, settled, good
}

// Calm is a span of time in which goodput is at its old level again: of what is
// due in that many buckets, in a row, a share of calmShare is answered in time.
const (
	calm      = 10
	calmShare = 0.97
)

// recovered is how long after an instant goodput is back for good: from then on
// every second of what is settled is calm. ok is false while that is not so, or
// not known.
func recovered(records []Record, after, target time.Duration) (took time.Duration, ok bool) {
	due, settled, good := buckets(records, target)
	last := len(due) - 1 // the last one may still grow
	first := int(after / bucket)
	from := -1
	for k := first; k+calm <= last; k++ {
		d, s, g := 0, 0, 0
		for i := k; i < k+calm; i++ {
			d, s, g = d+due[i], s+settled[i], g+good[i]
		}
		if s < d {
			break
		}
		switch calm := float64(g) >= calmShare*float64(d); {
		case !calm:
			from = -1
		case from < 0:
			from = k
		}
	}
	if from < 0 {
		return 0, false
	}
	return max(time.Duration(from)*bucket-after, 0), true
}

// sketch draws goodput by bucket: a digit is tenths of what was due, F all of
// it, a dot no request.
func sketch(records []Record, target time.Duration) string {
	due, _, good := buckets(records, target)
	var b strings.Builder
	for k := range due {
		switch {
		case k%10 == 0 && k > 0:
			b.WriteByte(' ')
		}
		switch {
		case due[k] == 0:
			b.WriteByte('.')
		case good[k] == due[k]:
			b.WriteByte('F')
		default:
			fmt.Fprintf(&b, "%d", 10*good[k]/due[k])
		}
	}
	return b.String()
}
