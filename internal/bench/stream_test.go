package bench

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"motley/internal/earlyexit"
)

const smallStream = `# somebody's remark depths=0.25,0.5 ramp_cost=0.01
i,segment,label,final_pred,final_conf,conf0,conf1,agree0,agree1,pred0,pred1,margin0,margin1,entropy0,entropy1
0,clean,3,3,0.75,0.5,0.9,0,1,2,3,0.25,0.85,0.5,0.1
1,clean,1,3,0.5,0.25,1,1,1,3,3,0.125,1,0.75,0
5,noise=0.25,1,1,1,0.5,0.5,0,0,0,2,0,0.25,1,0.5
`

func TestReadStream(t *testing.T) {
	for name, text := range map[string]string{"f.csv": smallStream, "dir/f.csv.gz": zipped(t, smallStream)} {
		s, err := ReadStream(name, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		want := earlyexit.Outcome{
			Seq: 2, Exit: -1, Audit: 1, Ran: true, Class: 1,
			Signals: []earlyexit.Signal{{Class: 0, Confidence: 0.5, Margin: 0, Entropy: 1}, {Class: 2, Confidence: 0.5, Margin: 0.25, Entropy: 0.5}},
		}
		if s.Name != "f" || s.Ramps != 2 || len(s.Rows) != 3 || !reflect.DeepEqual(s.Rows[2], want) || s.Rows[0].Agree != 0b10 {
			t.Errorf("%+v", s)
		}
		if !reflect.DeepEqual(s.Segments, []Segment{{"clean", 0}, {"noise=0.25", 2}}) || s.Labels[1] != 1 || s.Final[0] != 0.75 {
			t.Errorf("%+v, %v, %v", s.Segments, s.Labels, s.Final)
		}
		if err := s.setCosts(nil, nil); err != nil || !reflect.DeepEqual(s.cost(), earlyexit.Cost{Batch: 1, Whole: 1, Until: []float64{0.25, 0.5}, Ramp: []float64{0.01, 0.01}}) {
			t.Errorf("%+v, %v", s.cost(), err)
		}
	}
	s, err := ReadStream("f", strings.NewReader("i,conf0,agree0\r\n7,0.5,1\r\n"))
	if err != nil || s.Rows[0].Class != -1 || s.Rows[0].Signals[0].Class != -1 || s.Rows[0].Signals[0].Margin == s.Rows[0].Signals[0].Margin ||
		!reflect.DeepEqual(s.Segments, []Segment{{"all", 0}}) || s.Labels != nil || s.classes() != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := s.setCosts(nil, nil); err != nil || s.Depth[0] != 0.5 || s.RampCost[0] != defaultRampCost {
		t.Errorf("%v, %v, %v", s.Depth, s.RampCost, err)
	}
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReadStreamErrors: each names the line and the column.
func TestReadStreamErrors(t *testing.T) {
	const head = "i,conf0,agree0\n"
	for text, want := range map[string]string{
		"":                                 "f: line 1: want a heading",
		"# depths=0.5\n":                   "f: line 2: want a heading",
		head:                               "f: no rows",
		"# depths=a\n" + head:              "f: line 1: depths",
		"# depths=NaN\n" + head:            "f: line 1: depths",
		"#\n# depths=.1,.2\n" + head:       "f: line 3: 2 depths",
		"# ramp_cost=1,2\n" + head:         "f: line 2: 0 depths and 2 ramp costs for 1 ramps",
		"i,conf0\n0,1\n":                   "f: line 1: want the columns",
		"conf0,agree0\n1,1\n":              "f: line 1: want the columns",
		"i,i,conf0,agree0\n":               "f: line 1: the column i is there twice",
		"i,conf0,agree0,speed\n":           `f: line 1: unknown column "speed"`,
		"i,conf00,agree0\n":                `f: line 1: unknown column "conf00"`,
		"i,conf,agree0\n":                  `f: line 1: unknown column "conf"`,
		"i,conf0,conf1,agree0\n":           "f: line 1: 1 columns agree0",
		"i,conf0,agree1\n":                 "f: line 1: the column agree1, with 1 ramps",
		"i,conf0,agree0,pred1\n":           "f: line 1: the column pred1",
		head + "0,1\n":                     "line 2",
		"# x\n" + head + "0,1\n":           "line 3",
		"# x\n" + head + "0,2,1\n":         `f: line 3: column conf0: "2": must be a number from 0 to 1`,
		head + "0,NaN,1\n":                 "f: line 2: column conf0",
		head + "0,,1\n":                    "f: line 2: column conf0",
		head + "0,1,2\n":                   `f: line 2: column agree0: "2": must be 0 or 1`,
		head + "-1,1,1\n":                  "f: line 2: column i",
		head + "3,1,1\n3,1,1\n":            "f: line 3: column i",
		head + "x,1,1\n":                   "f: line 2: column i",
		"i,label,conf0,agree0\n0,-1,1,1\n": "f: line 2: column label",
		"i,segment,conf0,agree0\n0,,1,1\n": "f: line 2: column segment",
		"i,final_pred,conf0,agree0\n0,99999999,1,1\n":  "f: line 2: column final_pred",
		"i,final_pred,conf0,agree0,pred0\n0,3,1,1,2\n": "f: line 2: column agree0: 1, but pred0 is 2 and final_pred 3",
		"i,conf0,agree0,margin0\n0,1,1,1.5\n":          "f: line 2: column margin0",
		"i,conf0,agree0,entropy0\n0,1,1,-0.5\n":        "f: line 2: column entropy0",
		"i,conf0,agree0,final_conf\n0,1,1,x\n":         "f: line 2: column final_conf",
		"\x1f\x8b":                                     "f: ",
		zipped(t, smallStream)[:60]:                    "f: ",
	} {
		if _, err := ReadStream("f", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot read the stream: f: ") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, c := range []struct{ depths, costs []float64 }{
		{[]float64{0.5}, nil}, {[]float64{0.5, 0.4}, nil}, {[]float64{0, 0.5}, nil}, {[]float64{0.5, 1}, nil}, {nil, []float64{1}}, {nil, []float64{-0.1}}, {nil, []float64{0, 0, 0}},
	} {
		s := &Stream{Ramps: 2}
		if err := s.setCosts(c.depths, c.costs); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}

// TestWriteStream: what is written is read as it was, whatever is known of it.
func TestWriteStream(t *testing.T) {
	full, err := ReadStream("f", strings.NewReader(smallStream))
	if err != nil {
		t.Fatal(err)
	}
	bare, err := ReadStream("f", strings.NewReader("i,segment,conf0,conf1,agree0,agree1\n0,a,0.1,0.33333334,0,1\n1,b,1,1e-9,1,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Stream{full, bare} {
		var b bytes.Buffer
		if err := s.write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ReadStream("f", bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("%v:\n%s", err, &b)
		}
		var c bytes.Buffer
		if err := again.write(&c); err != nil || b.String() != c.String() {
			t.Errorf("%v: written\n%s\nthen\n%s", err, &b, &c)
		}
		for i := range s.Rows {
			for r, g := range s.Rows[i].Signals {
				if h := again.Rows[i].Signals[r]; g.Confidence != h.Confidence || g.Class != h.Class {
					t.Errorf("row %d, ramp %d: %+v became %+v", i, r, g, h)
				}
			}
		}
	}
}

func FuzzReadStream(f *testing.F) {
	f.Add([]byte(smallStream))
	f.Add([]byte("i,conf0,agree0\n0,0.5,1\n"))
	f.Add([]byte("# depths=0.5 ramp_cost=0.1\ni,conf0,agree0\n0,0.5,1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadStream("f", bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(s.Rows) == 0 || len(s.Segments) == 0 || s.Segments[0].From != 0 || s.Ramps < 1 || s.Ramps > earlyexit.MaxRamps {
			t.Fatalf("%d rows, segments %v, %d ramps", len(s.Rows), s.Segments, s.Ramps)
		}
		for i := range s.Rows {
			o := &s.Rows[i]
			if len(o.Signals) != s.Ramps || s.Ramps < 32 && o.Agree>>s.Ramps != 0 {
				t.Fatalf("row %d: %+v", i, o)
			}
			for r := range o.Signals {
				if !o.Signals[r].Seen() {
					t.Fatalf("row %d, ramp %d: %+v", i, r, o.Signals[r])
				}
			}
		}
		var b bytes.Buffer
		if err := s.write(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadStream("f", &b); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

// random is a stream of a made-up model whose ramps are the likelier right the
// surer and the deeper they are; in its second half they are surer than right.
func random(seed uint64, n, ramps int) *Stream {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &Stream{Name: "random", Ramps: ramps, Segments: []Segment{{"as trained", 0}, {"harder", n / 2}}}
	for i := range n {
		o := earlyexit.Outcome{Seq: uint64(i), Exit: -1, Audit: 1, Ran: true, Class: int32(rng.IntN(5))}
		ease := rng.Float64()
		for r := range ramps {
			sure := 1 - (1-ease)*rng.Float64()
			g := earlyexit.Signal{Class: o.Class, Confidence: float32(sure), Margin: float32(sure * sure), Entropy: float32(1 - sure)}
			right := 1 - (1-sure)*0.8/float64(r+1)
			if i >= n/2 {
				right -= 0.03
			}
			if rng.Float64() > right {
				g.Class = (o.Class + 1) % 5
			} else {
				o.Agree |= 1 << r
			}
			o.Signals = append(o.Signals, g)
		}
		s.Rows = append(s.Rows, o)
	}
	if err := s.setCosts(nil, []float64{0.003}); err != nil {
		panic("BUG: " + err.Error())
	}
	return s
}

// TestOnly: a stream without some ramps says the same of the others.
func TestOnly(t *testing.T) {
	s := random(1, 50, 4)
	o := s.only(0b1010)
	if o.Ramps != 2 || !reflect.DeepEqual(o.Depth, []float64{s.Depth[1], s.Depth[3]}) {
		t.Fatalf("%d ramps at %v", o.Ramps, o.Depth)
	}
	for i := range s.Rows {
		for k, r := range []int{1, 3} {
			if o.Rows[i].Signals[k] != s.Rows[i].Signals[r] || o.Rows[i].Agree>>k&1 != s.Rows[i].Agree>>r&1 {
				t.Fatalf("row %d: %+v of %+v", i, o.Rows[i], s.Rows[i])
			}
		}
	}
}

// TestHostile: all ramps are wrong there, nothing else shows it, and the stream
// that it was made of stays as it is.
func TestHostile(t *testing.T) {
	s := random(2, 60, 3)
	before := s.Rows[20].Signals[0]
	h := s.hostile(10, 40)
	for i := range h.Rows {
		o := &h.Rows[i]
		for r, g := range o.Signals {
			if g.Confidence != s.Rows[i].Signals[r].Confidence || (g.Class == o.Class) != (o.Agree>>r&1 == 1) || i >= 10 && i < 40 && g.Class == o.Class {
				t.Fatalf("row %d: %+v", i, o)
			}
		}
	}
	if s.Rows[20].Signals[0] != before || len(h.Segments) != 3 {
		t.Errorf("segments %v", h.Segments)
	}
}
