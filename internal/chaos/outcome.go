package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Outcome is what became of a request.
type Outcome uint8

// The outcomes. A request has exactly one of those after Pending in the end.
const (
	Pending  Outcome = iota
	Answered         // 200, with the rows of this very request
	Rejected         // 429, or 503: the router did not take it, and said so
	Failed           // another error of the server's: 500, 502, 504
	Blamed           // any other status: the request is said to be at fault
	Wrong            // a 200 that does not answer it, or no HTTP at all
	Refused          // no connection could be made
	Cut              // the connection ended before the answer was whole
	Silent           // nothing came for as long as the client waits
	Left             // the client left, as it was meant to
	outcomes
)

var outcomeNames = [outcomes]string{"pending", "answered", "rejected", "failed", "blamed", "wrong", "refused", "cut", "silent", "left"}

func (o Outcome) String() string { return outcomeNames[o] }

// Record is one request and what became of it. Times count from the traffic's
// start.
type Record struct {
	Ask
	At      time.Duration // when it was due
	Sent    time.Duration // when the client came to it: the machine may be busy
	Done    time.Duration // when its outcome was known
	Outcome Outcome
	Status  int           // HTTP, 0 without an answer
	Retry   time.Duration // when the router says to come back, 0: it does not
	Detail  string        // of what did not go well
}

// ordinary requests are those that ask for nothing odd, and so are owed an
// answer.
func (r *Record) ordinary() bool { return r.Leave == 0 && r.Deadline == 0 }

// Counts are requests by outcome.
type Counts [outcomes]int

func (c Counts) String() string {
	var parts []string
	for o, n := range c {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, Outcome(o)))
		}
	}
	return strings.Join(parts, ", ")
}

// Total is how many there are.
func (c Counts) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// count counts the records for which is holds, nil for all.
func count(records []Record, is func(*Record) bool) (c Counts) {
	for i := range records {
		if r := &records[i]; is == nil || is(r) {
			c[r.Outcome]++
		}
	}
	return c
}

// examples are the first few details of outcomes, of the records for which is
// holds, nil for all.
func examples(records []Record, is func(*Record) bool, of ...Outcome) string {
	var some []string
	for i := range records {
		r := &records[i]
		if slices.Contains(of, r.Outcome) && (is == nil || is(r)) && len(some) < 3 {
			some = append(some, fmt.Sprintf("request %d (%d rows, due %v, done %v): %s %d %.300s",
				r.ID, r.Rows, r.At.Round(time.Millisecond), r.Done.Round(time.Millisecond), r.Outcome, r.Status, r.Detail))
		}
	}
	return strings.Join(some, "; ")
}
