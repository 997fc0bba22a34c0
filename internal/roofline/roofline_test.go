package roofline

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/pool"
)

func newProfile(t testing.TB, points ...pool.Point) *pool.Profile {
	t.Helper()
	p, err := pool.NewProfile(points)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The longer of computing and moving, by hand.
func TestEstimate(t *testing.T) {
	t4, core := Find("T4"), Find("skylake")
	for _, c := range []struct {
		name  string
		cost  Cost
		d     *Device
		count int
		items int
		want  float64 // ms
	}{
		{"computing in FP32", Cost{FLOPs: 8.1e9}, t4, 1, 4, 4 / 0.4},
		{"computing in FP16", Cost{FLOPs: 65e9, Precision: FP16}, t4, 1, 1, 1 / 0.4},
		{"computing in INT8 on two", Cost{FLOPs: 130e9, Precision: INT8}, t4, 2, 1, 0.5 / 0.4},
		{"moving the parameters", Cost{FLOPs: 1, Fixed: 320e6}, t4, 1, 10, 1 / 0.7},
		{"moving items", Cost{Bytes: 32e6}, t4, 1, 10, 1 / 0.7},
		{"a core without FP16", Cost{FLOPs: 160e6, Precision: FP16}, core, 1, 3, 3 / 0.6},
		{"four cores", Cost{FLOPs: 160e6}, core, 4, 4, 1 / 0.6},
	} {
		if got := c.cost.Estimate(c.d, c.count, c.items) / 1e6; math.Abs(got/c.want-1) > 1e-9 {
			t.Errorf("%s: %g ms, want %g", c.name, got, c.want)
		}
	}
}

func TestDevices(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Names() {
		d := Find(name)
		if d == nil || d.Name != name || seen[name] || strings.ContainsAny(name, " /") || d.Source == "" {
			t.Errorf("%s: %+v", name, d)
			continue
		}
		seen[name] = true
		last := 0.0
		for _, p := range []Precision{"", FP32, FP16, INT8} {
			rate := d.peak(p)
			if rate < last || rate < 1e10 || rate > 1e16 {
				t.Errorf("%s: %q: %g operations/s", name, p, rate)
			}
			last = rate
		}
	}
	if Find("T5") != nil {
		t.Error("there is a device T5")
	}
}

// Where the truth is a roofline with efficiencies of its own, alike on all types of a
// class, priors are that truth.
func TestPriorsOfARoofline(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"skylake", "skylake-3ghz", "rome", "graviton3", "sapphirerapids"}
	for range 200 {
		c := Cost{FLOPs: math.Exp(rng.Float64() * 20), Bytes: math.Exp(rng.Float64() * 12), Fixed: math.Exp(rng.Float64() * 15)}
		factor := math.Exp(rng.NormFloat64())
		var types []Type
		for _, n := range names {
			types = append(types, Type{Name: n, Device: Find(n), Count: 1 + rng.IntN(8)})
		}
		truth := func(t *Type, n int) float64 { return 1e6 + factor*c.Estimate(t.Device, t.Count, n) }
		exact := func(t *Type, n int) float64 { return truth(t, n) - 1e6 }
		for i := range types[1:] {
			k := &types[i+1]
			var points []pool.Point
			for _, n := range sizesTo(32) {
				points = append(points, pool.Point{Batch: n, Mean: duration(1000 + exact(k, n))})
			}
			k.Profile = newProfile(t, points...)
		}
		p := Priors(c, types, 32)
		if len(p[0].Points) == 0 {
			if p[0].Why == "" || p[0].Error < p[0].Slowest {
				t.Fatalf("no prior: %+v", p[0])
			}
			continue // types as fast as each other
		}
		for _, pt := range p[0].Points {
			want := exact(&types[0], pt.Batch)
			if got := float64(pt.Mean); math.Abs(got-want) > 0.01*want+20000 {
				t.Errorf("%d items: %v, want %v", pt.Batch, pt.Mean, time.Duration(want))
			}
		}
		if !slices.IsSortedFunc(p[0].Points, func(a, b pool.Point) int { return int(a.Mean - b.Mean) }) {
			t.Errorf("it falls: %+v", p[0].Points)
		}
	}
}

// Who gets a prior, and why the others do not.
func TestPriorRules(t *testing.T) {
	ms := time.Millisecond
	law := func(per time.Duration) *pool.Profile {
		return newProfile(t, pool.Point{Batch: 1, Mean: ms + per}, pool.Point{Batch: 64, Mean: ms + 64*per})
	}
	gpu := Cost{FLOPs: 1e10, Precision: INT8}
	t4 := Type{Name: "t4", Device: Find("T4")}
	l4 := Type{Name: "l4", Device: Find("L4"), Profile: law(ms)}
	a100 := Type{Name: "a100", Device: Find("A100"), Profile: law(ms * 242 / 624)}
	odd := Type{Name: "odd", Device: Find("A2"), Profile: law(ms / 20)} // far faster than it should be
	cpu := Type{Name: "cpu", Device: Find("skylake"), Profile: law(9 * ms)}
	nobody := Type{Name: "x"}
	unknown := Type{Name: "cpu", Device: Find("skylake")}
	for _, c := range []struct {
		name  string
		cost  Cost
		types []Type
		why   string // of the first; "": it has one
		from  int
	}{
		{"nothing is measured", gpu, []Type{t4, {Name: "l4", Device: Find("L4")}}, "", 0},
		{"nothing is measured of two classes", gpu, []Type{t4, unknown}, "not all of one class", 0},
		{"nothing is measured, nor said of one", gpu, []Type{t4, nobody}, "not all of one class", 0},
		{"one of its class", gpu, []Type{t4, l4, cpu}, "", 1},
		{"two of its class", gpu, []Type{t4, l4, a100, cpu}, "", 2},
		{"only another class", gpu, []Type{t4, cpu}, "no GPU whose hardware is said was measured", 0},
		{"peers that do not fit", gpu, []Type{t4, l4, odd}, "for l4, odd it would be off by ×", 2},
		{"no hardware", gpu, []Type{nobody, l4}, "its hardware is not said", 0},
		{"no cost", Cost{Fixed: 1}, []Type{t4, l4}, "the cost of the model is not known", 0},
		{"a peer without hardware", gpu, []Type{t4, {Name: "y", Profile: law(ms)}}, "no GPU whose hardware", 0},
	} {
		p := Priors(c.cost, c.types, 64)[0]
		if (c.why == "") != (len(p.Points) > 0) || !strings.Contains(p.Why, c.why) || len(p.From) != c.from {
			t.Errorf("%s: %+v", c.name, p)
		}
		for _, pt := range p.Points {
			if pt.P99 < pt.Mean*15/10 {
				t.Errorf("%s: %+v is too sure", c.name, pt)
			}
		}
	}
	for i, p := range Priors(gpu, []Type{t4, l4, a100, cpu}, 64) {
		if i > 0 && (len(p.Points) > 0 || p.Why != "") {
			t.Errorf("a measured type has a prior: %+v", p)
		}
	}
	// A batch of 64 is 242/130 times as slow as on an L4, all of it; a faster GPU saves
	// only what items take.
	if got, want := Priors(gpu, []Type{t4, l4}, 64)[0].Points[6].Mean, 65*ms*242/130; (got - want).Abs() > want/100 {
		t.Errorf("64 items on a T4: %v, want %v", got, want)
	}
	h100 := Priors(gpu, []Type{{Name: "h100", Device: Find("H100")}, l4}, 64)[0]
	if got, want := h100.Points[6].Mean, ms+64*ms*242/1979; (got - want).Abs() > want/100 {
		t.Errorf("64 items on an H100: %v, want %v", got, want)
	}
	if got := Priors(gpu, []Type{t4}, 0)[0].Points; got[len(got)-1].Batch != defaultLargest {
		t.Errorf("without a largest batch it ends at %d", got[len(got)-1].Batch)
	}
}
