package live

import (
	"fmt"
	"strings"
	"testing"

	"motley/internal/dispatch"
)

// history is a log in which requests are named by the order of their arrival
// and batches by that of their start.
type history struct {
	requests map[dispatch.RequestID]int
	batches  map[dispatch.BatchID]int
	log      []step
	starts   [][]int // of the last step's batches: each member's first row, as rowsOf numbers them
	last     int     // steps up to the one in which the last request ended
}

// step is one event with its actions.
type step struct {
	text       string
	happenings []string
}

func newHistory() *history {
	return &history{requests: map[dispatch.RequestID]int{}, batches: map[dispatch.BatchID]int{}}
}

func (h *history) trace(ev dispatch.Event, actions []dispatch.Action) {
	if ev.Kind == dispatch.Arrive {
		h.requests[ev.Request] = len(h.requests)
		ev.Request = dispatch.RequestID(h.requests[ev.Request])
	}
	s := step{happenings: []string{ev.Kind.String()}}
	if ev.Kind == dispatch.Finish || ev.Kind == dispatch.Fail || ev.Kind == dispatch.Exit {
		ev.Batch = dispatch.BatchID(h.batches[ev.Batch])
		s.happenings = append(s.happenings, "fault="+ev.Fault.String())
	}
	type fields dispatch.Event // without its String, which leaves some out
	named := fields(ev)
	named.Change = nil // its address is another in every run; ev says what it is
	s.text = fmt.Sprintf("%v %+v", ev, named)
	h.starts = h.starts[:0]
	for _, a := range actions {
		s.text += "\n\t" + h.action(&s, a)
	}
	h.log = append(h.log, s)
}

func (h *history) action(s *step, a dispatch.Action) string {
	switch a.Kind {
	case dispatch.Start:
		h.batches[a.Batch] = len(h.batches)
		members := make([]int, len(a.Requests))
		for i, id := range a.Requests {
			members[i] = h.requests[id]
		}
		rows := make([]int, len(members))
		for i, m := range members {
			rows[i] = m * rowsEach
			if a.Rows != nil {
				rows[i] += a.Rows[i].From
			}
		}
		h.starts = append(h.starts, rows)
		if len(members) > 1 {
			s.happenings = append(s.happenings, "merged")
		}
		return fmt.Sprintf("start b%d m%d on w%d: %v %v", h.batches[a.Batch], a.Model, a.Worker, members, a.Rows)
	case dispatch.CancelBatch:
		s.happenings = append(s.happenings, a.Kind.String())
		return fmt.Sprintf("cancel b%d m%d on w%d", h.batches[a.Batch], a.Model, a.Worker)
	}
	h.last = len(h.log) + 1
	what := a.Kind.String()
	if a.Kind != dispatch.Answer {
		what += " " + a.Reason.String()
	}
	s.happenings = append(s.happenings, what)
	return fmt.Sprintf("%s r%d m%d", what, h.requests[a.Request], a.Model)
}

// lines is the log up to the step in which the last request ended; later the
// drivers wind up each in its own way.
func (h *history) lines() []string {
	var lines []string
	for _, s := range h.log[:h.last] {
		lines = append(lines, strings.Split(s.text, "\n")...)
	}
	return lines
}

func (h *history) count(seen map[string]int) {
	for _, s := range h.log[:h.last] {
		for _, what := range s.happenings {
			seen[what]++
		}
	}
}

func compareLogs(t *testing.T, seed uint64, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			t.Errorf("seed %d, line %d: the loop's log ends before\n%s", seed, i, want[i])
		case i >= len(want):
			t.Errorf("seed %d, line %d: the simulator's log ends before\n%s", seed, i, got[i])
		case want[i] != got[i]:
			from := max(0, i-3)
			t.Errorf("seed %d, line %d, after\n%s\nsimulator: %s\nloop:      %s",
				seed, i, strings.Join(want[from:i], "\n"), want[i], got[i])
		default:
			continue
		}
		return
	}
}
