package bench

import (
	"slices"
	"testing"
)

// TestClimb finds the top of a row with one top, asking no more than it must,
// and some top of any other row.
func TestClimb(t *testing.T) {
	for _, row := range [][]int{{1}, {1, 2, 3, 4}, {4, 3, 2, 1}, {1, 5, 3}, {1, 2, 9, 8, 7}, {0, 0, 7, 0}, {3, 1, 2, 6, 2}} {
		for start := range row {
			best, asked := -1, 0
			err := climb(len(row), start, func(i int) (bool, error) {
				asked++
				if best >= 0 && row[i] <= row[best] {
					return false, nil
				}
				best = i
				return true, nil
			})
			left, right := max(best-1, 0), min(best+1, len(row)-1)
			if err != nil || row[best] < row[left] || row[best] < row[right] || asked > len(row)+2 {
				t.Errorf("%v from %d: %d after %d questions, %v", row, start, best, asked, err)
			}
		}
	}
}

func tinyArena(t *testing.T, model string) *arena {
	t.Helper()
	s := Suite{Models: []string{model}, tiny: scale{requests: 1500, seeds: 1, chooseRequests: 800, chooseSeeds: 1}}
	arenas, _, err := s.arenas("exponential")
	if err != nil {
		t.Fatal(err)
	}
	return arenas[0]
}

// TestRace: the winner carries, but for the margin, what the best of all does
// when each is searched.
func TestRace(t *testing.T) {
	long(t)
	a := tinyArena(t, "wnd")
	mixes := a.best(a.byBatch, 12)
	v := mustVariant("least-load", "least-load", false, false)
	got, err := a.choose.race(mixes, v)
	if err != nil {
		t.Fatal(err)
	}
	most := 0.0
	for _, counts := range mixes {
		allowed, err := a.choose.allowable(counts, v, 0)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, allowed.Rate)
	}
	if got.rate < most/1.03 {
		t.Errorf("%v carries %.1f/s, the best %.1f/s", got.counts, got.rate, most)
	}
	if !slices.ContainsFunc(mixes, func(m []int) bool { return slices.Equal(m, got.counts) }) {
		t.Errorf("%v is none of those given", got.counts)
	}
}

// TestThresholdIsTuned: hill climbing does not end below a coarse search.
func TestThresholdIsTuned(t *testing.T) {
	long(t)
	a := tinyArena(t, "rm2")
	picked, err := pickThreshold(a)
	if err != nil {
		t.Fatal(err)
	}
	got := picked[0]
	for _, items := range []int{100, 300, 500, 700, 900} {
		allowed, err := a.choose.allowable(got.counts, thresholdAt(items), 0)
		if err != nil {
			t.Fatal(err)
		}
		if allowed.Rate > got.rate*1.1 {
			t.Errorf("on %v %s carries %.1f/s, a threshold of %d items %.1f/s", got.counts, got.v.Name, got.rate, items, allowed.Rate)
		}
	}
}
