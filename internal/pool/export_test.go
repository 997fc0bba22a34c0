package pool

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is exported is read back as profiles that estimate the same where
// something was known, to within the digits and the bound's own shape.
func TestWriteProfiles(t *testing.T) {
	all := learnedSet(t, 4)
	for i := range all {
		all[i].InstanceType = strings.ReplaceAll(all[i].InstanceType, "\n", " ")
	}
	var out bytes.Buffer
	if err := WriteProfiles(&out, all); err != nil {
		t.Fatal(err)
	}
	rows, err := ReadProfiles(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		var points []Point
		for _, r := range rows {
			if r.Model == l.Model && r.InstanceType == l.InstanceType {
				points = append(points, r.Point)
			}
		}
		again := newProfile(t, points...)
		if again.Known() != l.Profile.Known() {
			t.Errorf("%s on %s: known %v became %v", l.Model, l.InstanceType, l.Profile.Known(), again.Known())
		}
		if len(points) == 0 {
			continue
		}
		first, last := points[0].Batch, points[len(points)-1].Batch
		for n := first; n <= last; n++ {
			if e := off(again.Mean(n), l.Profile.Mean(n)); e > 1e-4 {
				t.Errorf("%s on %s: Mean(%d) = %v became %v", l.Model, l.InstanceType, n, l.Profile.Mean(n), again.Mean(n))
			}
			if e := off(again.Bound(n, 0.99), l.Profile.Bound(n, 0.99)); e > 1e-3 {
				t.Errorf("%s on %s: Bound(%d) = %v became %v", l.Model, l.InstanceType, n, l.Profile.Bound(n, 0.99), again.Bound(n, 0.99))
			}
		}
	}
}

func TestPointsEndWithWhatWasSeen(t *testing.T) {
	p := newProfile(t)
	if got := p.Points(); got != nil {
		t.Errorf("a profile that knows nothing has points %v", got)
	}
	p.Suppose(newProfile(t, Point{Batch: 1, Mean: 1}))
	if got := p.Points(); got != nil {
		t.Errorf("what is only supposed became points %v", got)
	}
	for range 9 {
		p.Observe(9, time.Millisecond)
	}
	p.Bound(1, 0.9)
	got := p.Points()
	if len(got) != 5 || got[4].Batch != 16 || got[3].Count < 5 || got[0].Count != 0 {
		t.Errorf("batches of 9 make points %v", got)
	}
	if p.q != 0.9 {
		t.Error("asking for the points changed the profile")
	}
}

func TestWriteProfilesRefuses(t *testing.T) {
	for _, name := range []string{"", "#m", " m", "m\n", "a\r\nb"} {
		for _, l := range []Learned{{name, "t", newProfile(t)}, {"m", name, newProfile(t)}} {
			if err := WriteProfiles(&bytes.Buffer{}, []Learned{l}); err == nil || !strings.Contains(err.Error(), "not be read back") {
				t.Errorf("%q: error %v", name, err)
			}
		}
	}
}

func TestMadeFrom(t *testing.T) {
	a := []Point{{Batch: 1, Mean: 3, P99: 4}, {Batch: 8, Mean: 9}}
	b := []Point{{Batch: 1, Mean: 3, P99: 5}, {Batch: 8, Mean: 9}}
	for _, c := range []struct {
		by, asked []Point
		want      bool
	}{{a, a, true}, {nil, nil, true}, {a, b, false}, {a, a[:1], false}, {a, nil, false}, {nil, a, false}, {a, []Point{{}}, false}} {
		p := newProfile(t, c.by...)
		p.Observe(5, time.Millisecond)
		if got := p.MadeFrom(c.asked); got != c.want {
			t.Errorf("made from %v, asked for %v: %v", c.by, c.asked, got)
		}
	}
}

// Two sizes that floats can hardly tell apart still give a law.
func TestSizesTooCloseToFit(t *testing.T) {
	p := newProfile(t, Point{Batch: 1 << 40, Mean: time.Second}, Point{Batch: 1<<40 + 1, Mean: time.Second})
	checkShape(t, p)
	if fixed, per := p.Affine(); fixed < 0 || per < 0 || fixed+per > 2*time.Second {
		t.Errorf("Affine() = %v, %v", fixed, per)
	}
}

// Rows are read back as they were written; what was not measured stays so.
func TestWriteRows(t *testing.T) {
	want := []Row{
		{"m", "a", Point{Batch: 1, Mean: 1500 * time.Microsecond}},
		{"m", "a", Point{Batch: 8, Mean: 3 * time.Millisecond, P99: 4 * time.Millisecond}},
		{"m, \"quoted\"", "b", Point{Batch: 2, Mean: 1}},
	}
	var out bytes.Buffer
	if err := WriteRows(&out, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadProfiles(&out)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %+v, want %+v", err, got, want)
	}
	if err := WriteRows(&out, []Row{{"", "a", Point{Batch: 1, Mean: 1}}}); err == nil {
		t.Error("a row without a model was written")
	}
}
