package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"motley/internal/pool"
)

// Mix is how many workers there are of each of some instance types, whose
// names stand beside in the same order.
type Mix struct {
	Types  []string
	Counts []int
}

// mostWorkers bounds the workers of one type in a mix.
const mostWorkers = 100_000

// ParseMix reads "g4dn.xlarge=4,r5n.large=2". The order is that in which
// policies see the workers.
func ParseMix(text string) (Mix, error) {
	var m Mix
	total := 0
	for part := range strings.SplitSeq(text, ",") {
		name, count, ok := strings.Cut(strings.TrimSpace(part), "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return Mix{}, fmt.Errorf("%q: want TYPE=COUNT,…", part)
		}
		for _, t := range m.Types {
			if t == name {
				return Mix{}, fmt.Errorf("%s is named twice", name)
			}
		}
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 0 || n > mostWorkers {
			return Mix{}, fmt.Errorf("%s: %q: must be a whole number from 0 to 100,000", name, count)
		}
		total += n
		m.Types, m.Counts = append(m.Types, name), append(m.Counts, n)
	}
	if total == 0 {
		return Mix{}, fmt.Errorf("%q: there is no worker in it", text)
	}
	return m, nil
}

// mixText writes the counts of the types as ParseMix reads them, without those
// of which there are none.
func mixText(types []pool.InstanceType, counts []int) string {
	var b strings.Builder
	for i, n := range counts {
		if n == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%d", types[i].Name, n)
	}
	return b.String()
}

// cost is the price of the mix, in USD/h.
func cost(types []pool.InstanceType, counts []int) float64 {
	sum := 0.0
	for i, n := range counts {
		sum += float64(n) * types[i].USDPerHour
	}
	return sum
}

// space is what mixes may be made of.
type space struct {
	types  []pool.InstanceType
	most   []int // of each type
	least  []int // of each type; nil = none
	budget float64
}

// mixes lists every mix of the space, in lexicographic order. maximal leaves
// only those that no further instance fits into.
func (s *space) mixes(maximal bool) [][]int {
	var all [][]int
	counts := make([]int, len(s.types))
	var fill func(t int, left float64)
	fill = func(t int, left float64) {
		if t == len(counts) {
			if sumOf(counts) > 0 && (!maximal || !s.fitsMore(counts, left)) {
				all = append(all, append([]int(nil), counts...))
			}
			return
		}
		from := 0
		if s.least != nil {
			from = s.least[t]
		}
		for n := from; n <= s.most[t]; n++ {
			rest := left - float64(n)*s.types[t].USDPerHour
			if rest < -1e-9 {
				break
			}
			counts[t] = n
			fill(t+1, rest)
		}
		counts[t] = 0
	}
	fill(0, s.budget)
	return all
}

func (s *space) fitsMore(counts []int, left float64) bool {
	for t := range counts {
		if counts[t] < s.most[t] && s.types[t].USDPerHour <= left+1e-9 {
			return true
		}
	}
	return false
}

// homogeneous is the largest mix of one type alone.
func (s *space) homogeneous(t int) []int {
	counts := make([]int, len(s.types))
	counts[t] = min(s.most[t], int(math.Floor(s.budget/s.types[t].USDPerHour+1e-9)))
	return counts
}

func sumOf(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
