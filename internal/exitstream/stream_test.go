package exitstream

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"motley/internal/earlyexit"
)

// rewritten writes a stream and reads it again: all of it is as it was, and what
// is written then are the same bytes.
func rewritten(t *testing.T, s *Stream) {
	t.Helper()
	var b, c bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("what was written cannot be read: %v:\n%s", err, &b)
	}
	if err := again.Write(&c); err != nil || b.String() != c.String() {
		t.Errorf("%v: written\n%s\nthen\n%s", err, &b, &c)
	}
	for i := range s.Rows {
		if again.Rows[i].Agree != s.Rows[i].Agree || again.Rows[i].Class != s.Rows[i].Class {
			t.Errorf("row %d: %+v became %+v", i, s.Rows[i], again.Rows[i])
		}
		for r, g := range s.Rows[i].Signals {
			if h := again.Rows[i].Signals[r]; g.Confidence != h.Confidence || g.Class != h.Class {
				t.Errorf("row %d, ramp %d: %+v became %+v", i, r, g, h)
			}
		}
	}
	if !reflect.DeepEqual(again.Segments, s.Segments) || !reflect.DeepEqual(again.Labels, s.Labels) || !reflect.DeepEqual(again.Final, s.Final) {
		t.Errorf("%+v became %+v", s, again)
	}
}

// TestWrite: what is written is read as it was, whatever is known of it.
func TestWrite(t *testing.T) {
	for _, text := range []string{small, "i,segment,conf0,conf1,agree0,agree1\n0,a,0.1,0.33333334,0,1\n1,b,1,1e-9,1,1\n"} {
		s, err := Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		rewritten(t, s)
	}
}

func TestSetCosts(t *testing.T) {
	s, err := Read(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ depths, costs, wantDepths, wantCosts []float64 }{
		{nil, nil, []float64{0.25, 0.5}, []float64{0.01, 0.01}},
		{nil, []float64{0.2}, []float64{0.25, 0.5}, []float64{0.2, 0.2}},
		{[]float64{0.1, 0.9}, []float64{0, 0.1}, []float64{0.1, 0.9}, []float64{0, 0.1}},
	} {
		c := *s
		want := earlyexit.Cost{Batch: 1, Whole: 1, Until: tc.wantDepths, Ramp: tc.wantCosts}
		if err := c.SetCosts(tc.depths, tc.costs); err != nil || !reflect.DeepEqual(c.Cost(), want) {
			t.Errorf("%+v, %v, want %+v", c.Cost(), err, want)
		}
	}
	silent := &Stream{Ramps: 1}
	if err := silent.SetCosts(nil, nil); err != nil || silent.Depth[0] != 0.5 || silent.RampCost[0] != DefaultRampCost {
		t.Errorf("%v, %v, %v", silent.Depth, silent.RampCost, err)
	}
	for _, c := range []struct{ depths, costs []float64 }{
		{[]float64{0.5}, nil}, {[]float64{0.5, 0.4}, nil}, {[]float64{0, 0.5}, nil}, {[]float64{0.5, 1}, nil}, {nil, []float64{1}}, {nil, []float64{-0.1}}, {nil, []float64{0, 0, 0}},
	} {
		s := &Stream{Ramps: 2}
		if err := s.SetCosts(c.depths, c.costs); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}

// TestOnly: a stream without some ramps says the same of the others.
func TestOnly(t *testing.T) {
	for _, costs := range []string{"", "# depths=0.1,0.2,0.3,0.4\n", "# ramp_cost=0.1,0.2,0.3,0.4\n", "# ramp_cost=0.1 depths=0.1,0.2,0.3,0.4\n"} {
		s, err := Read(strings.NewReader(costs + "i,conf0,conf1,conf2,conf3,agree0,agree1,agree2,agree3\n" +
			"0,0.1,0.2,0.3,0.4,0,1,0,0\n1,0.5,0.6,0.7,0.8,1,0,1,1\n2,0.9,1,0,0.1,1,1,1,1\n"))
		if err != nil {
			t.Fatal(err)
		}
		o := s.Only(0b1010)
		if o.Ramps != 2 || (o.Depth == nil) != (s.Depth == nil) || (o.RampCost == nil) != (s.RampCost == nil) ||
			o.Depth != nil && !reflect.DeepEqual(o.Depth, []float64{s.Depth[1], s.Depth[3]}) ||
			o.RampCost != nil && !reflect.DeepEqual(o.RampCost, []float64{s.RampCost[1], s.RampCost[3]}) {
			t.Fatalf("%d ramps at %v for %v, of %v for %v", o.Ramps, o.Depth, o.RampCost, s.Depth, s.RampCost)
		}
		for i := range s.Rows {
			for k, r := range []int{1, 3} {
				if o.Rows[i].Signals[k].Confidence != s.Rows[i].Signals[r].Confidence || o.Rows[i].Agree>>k&1 != s.Rows[i].Agree>>r&1 {
					t.Fatalf("row %d: %+v of %+v", i, o.Rows[i], s.Rows[i])
				}
			}
		}
	}
}
