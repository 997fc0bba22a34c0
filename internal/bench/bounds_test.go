package bench

import (
	"math"
	"os"
	"testing"
)

// shared is the data folder, which tests that need it skip without.
func shared(t *testing.T) string {
	t.Helper()
	const dir = "../../../shared/data"
	if _, err := os.Stat(dir + "/kairos/latency_samples.jsonl"); err != nil {
		t.Skipf("NOT CHECKED: %v", err)
	}
	return dir
}

// TestBoundsKnown compares with what an independent program made of KAIROS's
// samples, and of the built-in table with more slack.
func TestBoundsKnown(t *testing.T) {
	long(t)
	check := func(t *testing.T, s Suite, slack float64) {
		arenas, _, err := s.arenas("exponential")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			model            string
			counts           []int
			ub, lp, batching float64
		}{
			{"rm2", []int{1, 0, 13, 0}, 144.2, 143.5, 147.7}, {"rm2", []int{2, 0, 9, 0}, 119.5, 119.4, 122.8},
			{"ncf", []int{1, 0, 13, 0}, 7181, 7428, 9464}, {"ncf", []int{3, 0, 6, 0}, 5501, 6022, 8611},
			{"wnd", []int{1, 0, 13, 0}, 1556, 1602, 1808}, {"wnd", []int{4, 0, 2, 0}, 1186, 1253, 1962},
			{"mtwnd", []int{2, 0, 9, 0}, 1061, 1108, 1296}, {"mtwnd", []int{4, 0, 2, 0}, 831, 870, 1349},
			{"dien", []int{2, 0, 9, 0}, 733, 755, 892}, {"dien", []int{4, 0, 2, 0}, 538, 567, 983},
		} {
			for _, a := range arenas {
				if a.measure.Model.Name != c.model {
					continue
				}
				b, err := a.boundsOf(c.counts)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range [][2]float64{{b.Kairos, c.ub}, {b.LP, c.lp}, {b.Batching, c.batching}} {
					if off := p[0]/p[1] - 1; math.Abs(off) > slack {
						t.Errorf("%s on %v: %.5g, want %.5g", c.model, c.counts, p[0], p[1])
					}
				}
				if b.Shed < b.LP {
					t.Errorf("%s on %v: shedding lowers the bound from %v to %v", c.model, c.counts, b.LP, b.Shed)
				}
			}
		}
		for i, want := range []float64{9490, 148, 1968, 1365, 986} { // over all mixes
			if off := arenas[i].highest()/want - 1; math.Abs(off) > slack {
				t.Errorf("%s: the highest batching bound is %.5g, want %.5g", arenas[i].measure.Model.Name, arenas[i].highest(), want)
			}
		}
		// KAIROS picks (1,0,13,0) or (2,0,9,0), as its authors' tables have it.
		for i, want := range [][]int{{1, 0, 13, 0}, {1, 0, 13, 0}, {1, 0, 13, 0}, {2, 0, 9, 0}, {2, 0, 9, 0}} {
			if got := arenas[i].best(arenas[i].byUB, 1)[0]; !sameMix(got, want) && slack < 0.02 {
				t.Errorf("%s: first by KAIROS's bound is %v, want %v", arenas[i].measure.Model.Name, got, want)
			}
		}
	}
	t.Run("table", func(t *testing.T) { check(t, Suite{}, 0.05) })
	t.Run("samples", func(t *testing.T) { check(t, Suite{Dir: shared(t)}, 0.012) })
}

// TestBoundsInParts: a mix that answers the largest size nowhere in one piece
// has none of the bounds that suppose that.
func TestBoundsInParts(t *testing.T) {
	a := tinyArena(t, "wnd")
	b, err := a.measure.bounds([]int{0, 0, 9, 0})
	if err != nil || b.Kairos != 0 || b.LP != 0 || b.Shed != 0 || b.Batching < 500 || b.Batching > 1500 {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestReferencesHaveContenders: a figure to compare with that belongs to no
// contender would never be printed.
func TestReferencesHaveContenders(t *testing.T) {
	names := map[string]bool{}
	for _, c := range contenders() {
		names[c.name] = true
	}
	for _, r := range references {
		if !names[r.contender] {
			t.Errorf("no contender is called %s", r.contender)
		}
	}
	if got := referenceOf(published, "exponential", "mtwnd"); got != 912 {
		t.Errorf("the reference of kairos for mtwnd is %v", got)
	}
	if got := referenceOf(ours, "exponential", "mtwnd"); got != 0 {
		t.Errorf("motley has the reference %v", got)
	}
}
