package cascade

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
)

// line is what one model of the oracle's script says of one row.
type line struct {
	class      int // the largest, in the model's own classes; −1: NaN among them
	p          float64
	exit, stop bool // the controller's verdict there
}

// plot is a random script for requests to a cascade.
type plot struct {
	classes []int // of the first model; nil: as the reference's
	lines   [][]line
	fails   []int // by model: 0 no, 1 refused, 2 the request is at fault, 3 nonsense, 4 too late
	active  uint32
	mode    earlyexit.Mode
}

func randomPlot(rng *rand.Rand, models, rows int) *plot {
	p := &plot{active: uint32(rng.IntN(1<<(models-1)) | rng.IntN(1<<(models-1))), mode: earlyexit.Mode(rng.IntN(3))}
	if rng.IntN(2) == 0 {
		p.mode = earlyexit.Compute
		p.active = 1<<(models-1) - 1
	}
	if rng.IntN(3) == 0 {
		p.classes = []int{rng.IntN(4) - 1, rng.IntN(4) - 1, rng.IntN(4) - 1, rng.IntN(4) - 1}
	}
	for m := range models {
		fail := 0
		if rng.IntN(6) == 0 {
			fail = 1 + rng.IntN(4)
		}
		if fail == 4 && m == models-1 {
			fail = 1
		}
		p.fails = append(p.fails, fail)
		var lines []line
		for range rows {
			l := line{class: rng.IntN(3), p: 0.5 + 0.01*float64(rng.IntN(50)), exit: rng.IntN(2) == 0, stop: rng.IntN(2) == 0}
			if m == 0 && p.classes != nil {
				l.class = rng.IntN(4)
			}
			if rng.IntN(8) == 0 {
				l.class = -1
			}
			lines = append(lines, l)
		}
		p.lines = append(p.lines, lines)
	}
	return p
}

// say is a row of the model's p.
func (p *plot) say(m int, x int64) []float64 {
	l := p.lines[m][x]
	n := 3
	if m == 0 && p.classes != nil {
		n = len(p.classes)
	}
	row := make([]float64, n)
	for i := range row {
		row[i] = (1 - l.p) / float64(n-1)
	}
	if l.class < 0 {
		row[0] = math.NaN()
		return row
	}
	row[l.class] = l.p
	return row
}

// expected is what the oracle finds for one row.
type expected struct {
	model   int // that answers
	asked   bool
	outcome earlyexit.Outcome
}

// judge goes through the script row by row. Its error is 0, or how the request
// fails: 1 refused, 2 at fault, 3 nonsense.
func (p *plot) judge(rows int) (all []expected, fault int) {
	last := len(p.lines) - 1
	all = make([]expected, rows)
	open := rows
	for x := range all {
		all[x] = expected{model: -1, outcome: earlyexit.Outcome{Exit: -1, Audit: 1, Class: -1, Lost: true}}
	}
	for m := 0; m < last && open > 0 && p.mode != earlyexit.Off && fault == 0; m++ {
		if p.active>>m&1 == 0 {
			continue
		}
		if p.fails[m] == 2 {
			fault = 2
		}
		if p.fails[m] != 0 {
			continue
		}
		for x := range all {
			e, l := &all[x], p.lines[m][x]
			if e.model >= 0 {
				continue
			}
			e.asked = true
			class := l.class
			if m == 0 && p.classes != nil && class >= 0 {
				class = p.classes[class]
			}
			if class >= 0 && int64(class) == p.truth(x) {
				e.outcome.Agree |= 1 << m
			}
			if class >= 0 && l.exit {
				e.model, e.outcome.Exit, e.outcome.Audit = m, m, 0.5
				e.outcome.Lost = false
				open--
			}
		}
	}
	if open > 0 && fault == 0 {
		fault = p.fails[last]
	}
	for x := range all {
		e := &all[x]
		switch l := p.lines[max(e.model, 0)][x]; {
		case e.model < 0:
			if fault == 0 {
				e.model = last
				e.outcome.Lost = p.truth(x) < 0
			}
		case l.stop: // whatever became of the request
			e.outcome.Agree = 0
			continue
		default: // audited
			e.outcome.Lost = fault != 0 || p.fails[last] != 0 || p.truth(x) < 0
		}
		if e.outcome.Lost {
			e.outcome.Agree = 0
			continue
		}
		e.outcome.Ran, e.outcome.Class = true, int32(p.truth(x))
	}
	return all, fault
}

func (p *plot) truth(x int) int64 { return int64(p.lines[len(p.lines)-1][x].class) }

// TestOracle compares answers and outcomes with those of a judge that goes
// through random scripts row by row.
func TestOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	mixed, failed, ranLate := 0, 0, 0
	for i := range 2000 {
		models, rows := 2+rng.IntN(3), 1+rng.IntN(6)
		p := randomPlot(rng, models, rows)
		want, fault := p.judge(rows)
		synctest.Test(t, func(t *testing.T) {
			var all []*model
			for m := range models {
				one := &model{say: func(x int64) []float64 { return p.say(m, x) }}
				switch p.fails[m] {
				case 1:
					one.fail = &live.Refusal{Reason: live.Deadline}
				case 2:
					one.fail = &backend.Error{Class: backend.Client, Status: 400}
				case 3:
					one.rewrite = func(m *oip.Message) { m.Body = []byte("{}"); m.HeadLength = -1 }
				case 4:
					one.took = time.Hour
				}
				all = append(all, one)
			}
			s := begin(t, func(s *setting, c *Config) {
				s.active, s.mode = p.active, p.mode
				c.Stages[0].Classes = p.classes
				s.verdict = func(row *earlyexit.Row, ramp int) earlyexit.Verdict {
					l := p.lines[ramp][row.Seq]
					return earlyexit.Verdict{Exit: l.exit, Stop: l.stop, Audit: 0.5}
				}
			}, all...)
			xs := make([]int64, rows)
			for x := range xs {
				xs[x] = int64(x)
			}
			r := request(t, xs...)
			err := s.cascade.Do(context.Background(), r)
			s.end()
			if (err != nil) != (fault != 0) || fault != 0 && faultOf(err) != fault {
				t.Fatalf("%d: %+v\ngot %v, want fault %d", i, p, err, fault)
			}
			if err != nil {
				failed++
			} else {
				p.compare(t, i, parse(t, r.Call.Response), want)
			}
			models := map[int]bool{}
			for x, e := range want {
				models[e.model] = true
				got, learned := s.learned[uint64(x)]
				if learned != e.asked {
					t.Fatalf("%d: row %d of %+v: learned %v", i, x, p, learned)
				}
				if got.Ran && got.Exit >= 0 {
					ranLate++
				}
				got.Signals, got.Seq = nil, 0
				if learned && fmt.Sprint(got) != fmt.Sprint(e.outcome) {
					t.Fatalf("%d: row %d of %+v\ngot  %+v\nwant %+v", i, x, p, got, e.outcome)
				}
			}
			if err == nil && len(models) > 1 {
				mixed++
			}
		})
	}
	if mixed < 250 || failed < 100 || ranLate < 500 {
		t.Errorf("%d answers of several models, %d failures, %d audits: too few to mean something", mixed, failed, ranLate)
	}
}

func faultOf(err error) int {
	if _, ok := errors.AsType[*live.Refusal](err); ok {
		return 1
	}
	if e, ok := errors.AsType[*backend.Error](err); ok && e.Class == backend.Protocol {
		return 3
	}
	return 2
}

// compare holds an answer against what each row's model said.
func (p *plot) compare(t *testing.T, i int, a reply, want []expected) {
	t.Helper()
	exit, least := 0, 1.0
	for x, e := range want {
		exit, least = max(exit, e.model), min(least, p.lines[e.model][x].p)
		if p.lines[e.model][x].class < 0 {
			least = math.NaN()
		}
		row := p.say(e.model, int64(x))
		label := 100*e.model + top(row)
		if e.model == 0 && p.classes != nil {
			scattered := make([]float64, 3)
			for from, to := range p.classes {
				if to >= 0 {
					scattered[to] += row[from]
				}
			}
			label, row = p.classes[top(row)], scattered
		}
		for k, v := range row {
			got := a.Outputs[0].Data[3*x+k]
			if math.IsNaN(v) != (got == nil) || got != nil && math.Abs(*got-v) > 1e-6 {
				t.Fatalf("%d: row %d of %+v is answered %v, want %v", i, x, p, a, row)
			}
		}
		if got := a.Outputs[1].Data[x]; got == nil || int(*got) != label {
			t.Fatalf("%d: row %d of %+v has the label %v, want %d", i, x, p, a, label)
		}
	}
	got := a.Parameters.Confidence
	if a.Parameters.Exit != exit || math.IsNaN(least) != (got == nil) || got != nil && math.Abs(*got-least) > 1e-6 {
		t.Fatalf("%d: %+v is marked %+v (%v), want exit %d, confidence %v", i, p, a.Parameters, got, exit, least)
	}
}
