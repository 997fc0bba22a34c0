package planner

import (
	"bytes"
	"math"
	"os"
	"testing"
	"time"

	"motley/configs"
	"motley/internal/pool"
	"motley/internal/workload"
)

// kairosTypes are the instance types of KAIROS with their prices.
var kairosTypes = []Type{
	{Name: "g4dn.xlarge", USDPerHour: 0.526}, {Name: "c5n.2xlarge", USDPerHour: 0.432},
	{Name: "r5n.large", USDPerHour: 0.149}, {Name: "t3.xlarge", USDPerHour: 0.1664},
}

var kairosModels = []struct {
	name string
	qos  time.Duration
}{
	{"ncf", 5 * time.Millisecond}, {"rm2", 350 * time.Millisecond}, {"wnd", 25 * time.Millisecond},
	{"mtwnd", 25 * time.Millisecond}, {"dien", 35 * time.Millisecond},
}

// measuredRows are the authors' means of all batch sizes, if they are there.
func measuredRows(t testing.TB) []pool.Row {
	t.Helper()
	const name = "../../../shared/data/kairos/latency_by_batch.csv"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Skipf("needs %s: %v", name, err)
	}
	return readRows(t, data)
}

func readRows(t testing.TB, data []byte) []pool.Row {
	t.Helper()
	rows, err := pool.ReadProfiles(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// kairosProblem is KAIROS's: its types, sizes, targets and budget.
func kairosProblem(t testing.TB, rows []pool.Row, model string) *Problem {
	t.Helper()
	if rows == nil {
		rows = readRows(t, configs.KairosProfiles)
	}
	sizes, err := workload.ParseSizes("kairos", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := sizes.Histogram()
	p := &Problem{Types: kairosTypes, Budget: 2.5, Base: 1}
	for _, m := range kairosModels {
		if m.name == model {
			p.Models = []Model{{Name: model, Sizes: h.Sizes, P: h.P, QoS: m.qos, MaxBatch: 1000}}
		}
	}
	var profiles []*pool.Profile
	for _, typ := range p.Types {
		var points []pool.Point
		for _, r := range rows {
			if r.Model == model && r.InstanceType == typ.Name {
				points = append(points, r.Point)
			}
		}
		profile, err := pool.NewProfile(points)
		if err != nil {
			t.Fatal(err)
		}
		profiles = append(profiles, profile)
	}
	p.Latency = Profiles([][]*pool.Profile{profiles}, []float64{0})
	return p
}

// TestKairosBounds holds the bounds against those that an independent program
// computed from the same measurements.
func TestKairosBounds(t *testing.T) {
	rows := measuredRows(t)
	for _, c := range []struct {
		model            string
		mix              []int
		kairos, lp, most float64
		shed             float64 // 0 = not known
	}{
		{"rm2", []int{1, 0, 13, 0}, 144.2, 143.5, 147.7, 149.3},
		{"rm2", []int{2, 0, 9, 0}, 119.5, 119.4, 122.8, 0},
		{"ncf", []int{1, 0, 13, 0}, 7181, 7428, 9464, 7635},
		{"ncf", []int{3, 0, 6, 0}, 5501, 6022, 8611, 0},
		{"wnd", []int{1, 0, 13, 0}, 1556, 1602, 1808, 1652},
		{"wnd", []int{4, 0, 2, 0}, 1186, 1253, 1962, 0},
		{"mtwnd", []int{2, 0, 9, 0}, 1061, 1108, 1296, 1140},
		{"mtwnd", []int{4, 0, 2, 0}, 831, 870, 1349, 0},
		{"dien", []int{2, 0, 9, 0}, 733, 755, 892, 774},
		{"dien", []int{4, 0, 2, 0}, 538, 567, 983, 0},
	} {
		p := kairosProblem(t, rows, c.model)
		p.Latency = rawMeans(rows, c.model)
		b, err := BoundsOf(p, c.mix)
		if err != nil {
			t.Fatalf("%s %v: %v", c.model, c.mix, err)
		}
		t.Logf("%s %v: %.5g", c.model, c.mix, b)
		about := func(what string, got, want, within float64) {
			if want > 0 && math.Abs(got/want-1) > within {
				t.Errorf("%s %v: %s is %.5g, not about %.5g", c.model, c.mix, what, got, want)
			}
		}
		// The figures of KAIROS's bound are of its authors' own summary of the
		// measurements, which departs from these by up to 2 %.
		about("KAIROS's bound", b.Kairos, c.kairos, 0.02)
		about("LP", b.LP, c.lp, 0.002)
		about("LP with shedding", b.Shed, c.shed, 0.002)
		about("the batching bound", b.Batching, c.most, 0.005)
		if !(b.LP <= b.Shed && b.Shed <= b.Merged) {
			t.Errorf("%s %v: bounds out of order: %+v", c.model, c.mix, b)
		}
	}
}

// rawMeans are the means as they were measured, of the next larger batch where
// one was not, without the smoothing of a profile.
func rawMeans(rows []pool.Row, model string) Latency {
	means := map[string][]time.Duration{}
	for _, typ := range kairosTypes {
		all := make([]time.Duration, 1001)
		for _, r := range rows {
			if r.Model == model && r.InstanceType == typ.Name && r.Batch <= 1000 {
				all[r.Batch] = r.Mean
			}
		}
		for n := 999; n > 0; n-- {
			if all[n] == 0 {
				all[n] = all[n+1]
			}
		}
		means[typ.Name] = all
	}
	return func(_, typ, items int) (mean, bound time.Duration) {
		mean = means[kairosTypes[typ].Name][items]
		return mean, mean
	}
}

// TestHighestBatchingBound holds the highest bound of all mixes within the
// budget that KAIROS's allocator considers.
func TestHighestBatchingBound(t *testing.T) {
	rows := measuredRows(t)
	for i, want := range []float64{9490, 148, 1968, 1365, 986} {
		model := kairosModels[i].name
		p := kairosProblem(t, rows, model)
		p.Latency = rawMeans(rows, model)
		mixes, _ := newSpace(p, p.Budget).maximalMixes()
		most, at := 0.0, []int(nil)
		for _, mix := range mixes {
			if mix[0] == 0 {
				continue // its allocator wants a base
			}
			b, err := BoundsOf(p, mix)
			if err != nil {
				t.Fatal(err)
			}
			if b.Batching > most {
				most, at = b.Batching, mix
			}
		}
		t.Logf("%s: %.5g at %v", model, most, at)
		if math.Abs(most/want-1) > 0.01 {
			t.Errorf("%s: the highest batching bound is %.5g, not about %.5g", model, most, want)
		}
	}
}
