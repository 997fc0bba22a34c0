package match

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// The prices prove an answer optimal: no pair has a reduced cost below 0,
// assigned pairs have 0, and unassigned columns are free of charge.
func TestPricesCertifyTheOptimum(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var s Solver
	for _, c := range [][2]int{{200, 200}, {150, 200}, {1, 200}} {
		rows, cols := c[0], c[1]
		cost := make([]float64, rows*cols)
		for k := range cost {
			cost[k] = r.ExpFloat64() * 100
			if k%cols != k/cols && r.IntN(3) == 0 { // the diagonal keeps it feasible
				cost[k] = inf
			}
		}
		answer := s.Solve(cost, rows, cols)
		check(t, cost, rows, cols, answer)
		const tiny = 1e-9
		dual := 0.0
		for i, j := range answer {
			if j == none {
				t.Fatalf("%d × %d: row %d is unassigned", rows, cols, i)
			}
			if d := cost[i*cols+j] - s.u[i] - s.v[j]; math.Abs(d) > tiny {
				t.Errorf("%d × %d: assigned pair %d, %d has a reduced cost of %v", rows, cols, i, j, d)
			}
			dual += s.u[i]
			for j := range cols {
				if d := cost[i*cols+j] - s.u[i] - s.v[j]; d < -tiny {
					t.Fatalf("%d × %d: pair %d, %d has a reduced cost of %v", rows, cols, i, j, d)
				}
			}
		}
		for j, v := range s.v {
			if v > tiny || s.rowOf[j] == none && v != 0 {
				t.Errorf("%d × %d: column %d costs %v", rows, cols, j, v)
			}
			dual += v
		}
		if total, _ := Total(cost, cols, answer); math.Abs(total-dual) > 1e-6 {
			t.Errorf("%d × %d: total %v, but the prices sum to %v", rows, cols, total, dual)
		}
	}
}

// instance is that of testdata/golden.py.
func instance(seed uint64, rows, cols, forbidden int) []float64 {
	cost := make([]float64, rows*cols)
	for k := range cost {
		seed = seed*6364136223846793005 + 1442695040888963407
		cost[k] = float64(seed>>40) / 256
		if int(seed>>36%16) < forbidden {
			cost[k] = inf
		}
	}
	return cost
}

// The totals are SciPy's to the last bit: testdata/golden.py says how
// testdata/golden.csv was made. Where SciPy finds no assignment of all rows,
// there is none here either.
func TestAgainstSciPy(t *testing.T) {
	file, err := os.Open("testdata/golden.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var s Solver
	for line, record := range records[1:] {
		var n [4]int
		for k := range n {
			if n[k], err = strconv.Atoi(record[k]); err != nil {
				t.Fatalf("line %d: %v", line+2, err)
			}
		}
		seed, rows, cols := n[0], n[1], n[2]
		cost := instance(uint64(seed), rows, cols, n[3])
		answer := s.Solve(cost, rows, cols)
		check(t, cost, rows, cols, answer)
		total, assigned := Total(cost, cols, answer)
		if record[4] == "infeasible" {
			if assigned == min(rows, cols) {
				t.Errorf("seed %d, %d × %d: all are assigned, SciPy finds that infeasible", seed, rows, cols)
			}
			continue
		}
		want, err := strconv.ParseFloat(record[4], 64)
		if err != nil {
			t.Fatalf("line %d: %v", line+2, err)
		}
		if assigned != min(rows, cols) || total != want {
			t.Errorf("seed %d, %d × %d: %d assigned at %v, SciPy has %v", seed, rows, cols, assigned, total, want)
		}
	}
}
