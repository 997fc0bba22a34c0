package pool

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// learnedSet returns profiles of every kind, each after some batches.
func learnedSet(t testing.TB, seed uint64) []Learned {
	r := rand.New(rand.NewPCG(seed, 15))
	table := []Point{{Batch: 4, Mean: 3 * time.Millisecond, P99: 4 * time.Millisecond}, {Batch: 50, Mean: 9 * time.Millisecond}}
	var all []Learned
	for i, batches := range []int{0, 1, 7, 9, 40, 150, 3000} {
		for j, points := range [][]Point{nil, table, table[:1]} {
			p := newProfile(t, points...)
			for k := range batches {
				n := 1 + r.IntN(1<<(1+i))
				took := law(r, 2*time.Millisecond, 100*time.Microsecond, n, 0.1)
				if k > 2000 {
					took *= 3
				}
				p.Observe(n, took)
			}
			if i%2 == 0 {
				p.Bound(1, 0.95) // another quantile than the default
			}
			all = append(all, Learned{fmt.Sprintf("model %d", i), fmt.Sprintf("type,\n%d", j), p})
		}
	}
	return all
}

func save(t testing.TB, all []Learned) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := SaveProfiles(&out, all); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sameEstimates asserts that two profiles are the same to the last bit.
func sameEstimates(t *testing.T, when string, a, b *Profile) {
	t.Helper()
	for n := 1; n < 200_000; n += 1 + n/9 {
		if a.Mean(n) != b.Mean(n) || a.Bound(n, a.q) != b.Bound(n, a.q) {
			t.Fatalf("%s: at %d: mean %v and %v, bound %v and %v", when, n, a.Mean(n), b.Mean(n), a.Bound(n, a.q), b.Bound(n, a.q))
		}
	}
	aDrifts, aReplaced := a.Drifts()
	bDrifts, bReplaced := b.Drifts()
	if a.Known() != b.Known() || a.Settled() != b.Settled() || a.Samples() != b.Samples() || aDrifts != bDrifts || aReplaced != bReplaced {
		t.Fatalf("%s: known, settled, samples or drifts differ", when)
	}
}

// What is loaded estimates the same as what was saved, and goes on learning
// the same.
func TestSaveAndLoad(t *testing.T) {
	all := learnedSet(t, 1)
	file := save(t, all)
	again, err := LoadProfiles(bytes.NewReader(file))
	if err != nil || len(again) != len(all) {
		t.Fatalf("%d of %d loaded: %v", len(again), len(all), err)
	}
	if !bytes.Equal(save(t, again), file) {
		t.Error("saved again, the file differs")
	}
	for i, l := range again {
		name := l.Model + " on " + l.InstanceType
		if l.Model != all[i].Model || l.InstanceType != all[i].InstanceType {
			t.Errorf("%s: was %s on %s", name, all[i].Model, all[i].InstanceType)
		}
		sameEstimates(t, name, all[i].Profile, l.Profile)
		r := rand.New(rand.NewPCG(16, 17))
		for range 300 {
			n, took := 1+r.IntN(64), time.Duration(1+r.Int64N(1e7))
			all[i].Profile.Observe(n, took)
			l.Profile.Observe(n, took)
		}
		sameEstimates(t, name+", 300 batches later", all[i].Profile, l.Profile)
		for _, q := range []float64{0.5, 0.9, 0.999} {
			if a, b := all[i].Profile.Bound(9, q), l.Profile.Bound(9, q); a != b {
				t.Errorf("%s: Bound(9, %v) = %v, was %v", name, q, b, a)
			}
		}
	}
	if none, err := LoadProfiles(bytes.NewReader(save(t, nil))); err != nil || len(none) != 0 {
		t.Errorf("an empty set became %v, %v", none, err)
	}
}

func TestSaveRefuses(t *testing.T) {
	p := newProfile(t)
	for _, c := range []struct {
		all  []Learned
		want string
	}{
		{[]Learned{{"", "t", p}}, "need a name"},
		{[]Learned{{"m", "", p}}, "need a name"},
		{[]Learned{{"m", "t", nil}}, "m on t: there is none"},
		{[]Learned{{"m", "t", p}, {"m", "t", p}}, "twice"},
	} {
		var out bytes.Buffer
		if err := SaveProfiles(&out, c.all); err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("error %v and %d bytes, want none and an error with %q", err, out.Len(), c.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := string(save(t, learnedSet(t, 2)))
	head, body, _ := strings.Cut(good, "\n")
	for _, c := range []struct {
		name, in string
		class    error
		want     string
	}{
		{"nothing", "", ErrTorn, "empty"},
		{"CSV", "model,instance_type,batch,mean_ms,p99_ms\nm,t,1,1,1\n", ErrForeign, "line 1"},
		{"other JSON", "{\"format\":\"something\",\"version\":1}\n", ErrForeign, "line 1"},
		{"no version", strings.Replace(good, `"version":1`, `"version":0`, 1), ErrForeign, "version"},
		{"too new", strings.Replace(good, `"version":1`, `"version":2`, 1), ErrTooNew, "version: saved by a newer version: 2, this one reads up to 1"},
		{"head alone", head, ErrTorn, "does not end"},
		{"head and its end", head + "\n", ErrTorn, "xxhash64"},
		{"a number changed", head + "\n" + strings.Replace(body, `"weight":1`, `"weight":2`, 1), ErrTorn, "xxhash64"},
		{"a line too few", strings.Replace(head, `"profiles":21`, `"profiles":22`, 1) + "\n" + body, ErrTorn, "22, but 21 lines"},
	} {
		all, err := LoadProfiles(strings.NewReader(c.in))
		if all != nil || !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d profiles, error %v; want none, one with %q", c.name, len(all), err, c.want)
		}
	}
	// Torn anywhere, nothing is loaded.
	for end := 0; end < len(good); end += 1 + end/50 {
		if all, err := LoadProfiles(strings.NewReader(good[:end])); all != nil || err == nil {
			t.Fatalf("the first %d of %d bytes were loaded", end, len(good))
		}
	}
	broken := errors.New("broken")
	if _, err := LoadProfiles(&failing{broken}); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestLoadNamesTheField(t *testing.T) {
	p := newProfile(t)
	for range 20 {
		p.Observe(3, time.Millisecond)
	}
	_, body, _ := strings.Cut(string(save(t, []Learned{{"m", "t", p}})), "\n")
	for _, c := range []struct{ old, new, want string }{
		{`"model":"m"`, `"model":""`, "line 2: damaged or incomplete: model"},
		{`"batches":20`, `"batches":-1`, "batches: -1"},
		{`"batches":20`, `"batches":20,"other":1`, `"other"`},
		{`"quantile":0.99`, `"quantile":1`, "quantile: 1"},
		{`"law":[`, `"law":[-`, "law: -"},
		{`"items":2,`, `"items":1,`, "knots: 1: items: 1"},
		{`"unit":1,`, `"unit":0,`, "knots: 0: unit: 0"},
		{`"p99":1.6`, `"p99":0.5`, "knots: 0: p99: 0.5"},
		{`"count":12`, `"count":-1`, "count: -1"},
		{`"total":`, `"total":9`, "total: 9"},
		{body, strings.TrimSpace(body) + "{}\n", "more than one"},
		{body, body + body, "line 3: damaged or incomplete: m on t is already on line 2"},
	} {
		in := strings.Replace(body, c.old, c.new, 1)
		if in == body {
			t.Errorf("%s is not there to be replaced: %s", c.old, body)
			continue
		}
		if _, err := parseSaved([]byte(in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.new, err, c.want)
		}
	}
}

// Whatever is loaded keeps its promises and can be saved again.
func FuzzLoadProfiles(f *testing.F) {
	for _, l := range learnedSet(f, 3) {
		_, body, _ := bytes.Cut(save(f, []Learned{l}), []byte("\n"))
		f.Add(body, uint64(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		if all, err := LoadProfiles(bytes.NewReader(body)); err == nil {
			save(t, all)
		}
		all, err := parseSaved(body)
		if err != nil {
			return
		}
		again, err := LoadProfiles(bytes.NewReader(save(t, all)))
		if err != nil || len(again) != len(all) {
			t.Errorf("saved again, %d of %d could be loaded: %v", len(again), len(all), err)
		}
		r := rand.New(rand.NewPCG(seed, 2))
		for _, l := range all {
			checkShape(t, l.Profile)
			for range 20 {
				l.Profile.Observe(1+r.IntN(1<<r.IntN(20)), time.Duration(r.Int64N(1<<(1+r.IntN(50)))))
			}
			checkShape(t, l.Profile)
			if m := l.Profile.Mean(3); l.Profile.Known() && (m < 0 || float64(m) > math.MaxInt64/2) {
				t.Errorf("Mean(3) = %v", m)
			}
		}
	})
}
