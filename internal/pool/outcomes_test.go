package pool

import (
	"math/rand/v2"
	"testing"
)

// TestOutcomes compares with a list.
func TestOutcomes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var o Outcomes
	var list []bool // the youngest last
	for range 5000 {
		switch k := rng.IntN(10); {
		case k == 0:
			o.Forgive()
			for i := len(list) - 1; i >= 0; i-- {
				if list[i] {
					list[i] = false
					break
				}
			}
		case k == 1 && rng.IntN(20) == 0:
			o, list = Outcomes{}, nil
		default:
			failed := rng.IntN(4) == 0
			o.Add(failed)
			list = append(list, failed)
			list = list[max(0, len(list)-outcomesSpan):]
		}
		failed := 0
		for _, f := range list {
			if f {
				failed++
			}
		}
		if o.Failed() != failed || o.Ended() != len(list) || o.Full() != (len(list) == outcomesSpan) {
			t.Fatalf("%d of %d failed, want %d of %d", o.Failed(), o.Ended(), failed, len(list))
		}
	}
}
