package exitstream

import (
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"motley/internal/earlyexit"
)

const small = `# somebody's remark depths=0.25,0.5 ramp_cost=0.01
i,segment,label,final_pred,final_conf,conf0,conf1,agree0,agree1,pred0,pred1,margin0,margin1,entropy0,entropy1
0,clean,3,3,0.75,0.5,0.9,0,1,2,3,0.25,0.85,0.5,0.1
1,clean,1,3,0.5,0.25,1,1,1,3,3,0.125,1,0.75,0
5,noise=0.25,1,1,1,0.5,0.5,0,0,0,2,0,0.25,1,0.5
`

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

// outcome is that of a row that left nowhere.
func outcome(seq uint64, class int32, agree uint32, signals ...earlyexit.Signal) earlyexit.Outcome {
	return earlyexit.Outcome{Seq: seq, Exit: -1, Audit: 1, Ran: true, Agree: agree, Class: class, Signals: signals}
}

func TestRead(t *testing.T) {
	want := &Stream{
		Ramps: 2, Depth: []float64{0.25, 0.5}, RampCost: []float64{0.01, 0.01},
		Segments: []Segment{{"clean", 0}, {"noise=0.25", 2}}, Labels: []int32{3, 1, 1}, Final: []float32{0.75, 0.5, 1},
		Rows: []earlyexit.Outcome{
			outcome(0, 3, 0b10, earlyexit.Signal{Class: 2, Confidence: 0.5, Margin: 0.25, Entropy: 0.5}, earlyexit.Signal{Class: 3, Confidence: 0.9, Margin: 0.85, Entropy: 0.1}),
			outcome(1, 3, 0b11, earlyexit.Signal{Class: 3, Confidence: 0.25, Margin: 0.125, Entropy: 0.75}, earlyexit.Signal{Class: 3, Confidence: 1, Margin: 1}),
			outcome(2, 1, 0, earlyexit.Signal{Class: 0, Confidence: 0.5, Entropy: 1}, earlyexit.Signal{Class: 2, Confidence: 0.5, Margin: 0.25, Entropy: 0.5}),
		},
	}
	for name, text := range map[string]string{
		"plain": small, "packed": zipped(t, small), "with a byte order mark": "\ufeff" + small, "with CRLF": strings.ReplaceAll(small, "\n", "\r\n"),
		"costs on two lines": strings.Replace(small, " ramp_cost=", "\n# ramp_cost=", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Read(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(s, want) {
				t.Errorf("got  %+v\nwant %+v", s, want)
			}
		})
	}
}

// What the file does not say stays unknown; above all, agree says nothing of
// what the ramp's answer was.
func TestReadLittle(t *testing.T) {
	s, err := Read(strings.NewReader("agree0,conf0,i\n1,0.9,3\n0,0.8,7\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range s.Rows {
		g := o.Signals[0]
		if g.Class != -1 || g.Margin == g.Margin || g.Entropy == g.Entropy || o.Class != -1 || o.Agree != uint32(1-i) || o.Seq != uint64(i) {
			t.Errorf("row %d: %+v", i, o)
		}
	}
	if s.Ramps != 1 || len(s.Rows) != 2 || s.Labels != nil || s.Final != nil || s.Depth != nil || s.RampCost != nil || !reflect.DeepEqual(s.Segments, []Segment{{"all", 0}}) {
		t.Errorf("%+v", s)
	}
}

func TestReadErrors(t *testing.T) {
	const head = "i,conf0,agree0\n"
	const there = "; there are i, segment, label, final_pred, final_conf and, with the ramp's number, conf, agree, pred, margin, entropy"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "line 1: want a heading with i, conf0, …, agree0, …"},
		{"only remarks", "# a=b\n", "line 2: want a heading with i, conf0, …, agree0, …"},
		{"no rows", head, "has no rows"},
		{"no numbers", "#\n# depths=a\n" + head, `line 2: depths: "a": want numbers between commas`},
		{"NaN deep", "# depths=NaN\n" + head, `line 1: depths: "NaN": want numbers between commas`},
		{"too many depths", "#\n# depths=.1,.2\n" + head, "line 3: 2 depths and 0 ramp costs for 1 ramps"},
		{"too many costs", "# ramp_cost=1,2\n" + head, "line 2: 0 depths and 2 ramp costs for 1 ramps"},
		{"no i", "conf0,agree0\n", "line 1: column i is missing"},
		{"no ramps", "i\n", "line 1: column conf0 is missing"},
		{"no agree", "i,conf0\n", "line 1: column agree0 is missing"},
		{"a gap", "i,conf0,conf2,agree0,agree2\n", "line 1: column conf1 is missing"},
		{"one agree too many", "i,conf0,agree0,agree1\n", "line 1: column conf1 is missing"},
		{"half of pred", "i,conf0,conf1,agree0,agree1,pred1\n", "line 1: column pred0 is missing"},
		{"twice", "# a=b\ni,conf0,conf0,agree0\n", "line 2: column conf0 is there twice"},
		{"i twice", "i,i,conf0,agree0\n", "line 1: column i is there twice"},
		{"unknown", "i,conf0,agree0,weight\n", `line 1: column 4: unknown column "weight"` + there},
		{"a number written oddly", "i,conf00,agree0\n", `line 1: column 2: unknown column "conf00"` + there},
		{"no number", "i,conf,agree0\n", `line 1: column 2: unknown column "conf"` + there},
		{"too many ramps", "i,conf32,agree0\n", "line 1: column conf32: at most 32 ramps"},
		{"i", head + "x,0,1\n", `line 2: column i: "x": want a whole number, above that of the row before`},
		{"i again", "# a=b\n" + head + "1,0,1\n1,0,1\n", `line 4: column i: "1": want a whole number, above that of the row before`},
		{"conf", head + "0,1.5,1\n", `line 2: column conf0: "1.5": want a number from 0 to 1`},
		{"NaN", head + "0,0.5,1\n1,NaN,1\n", `line 3: column conf0: "NaN": want a number from 0 to 1`},
		{"none", head + "0,,1\n", `line 2: column conf0: "": want a number from 0 to 1`},
		{"agree", head + "0,1,2\n", `line 2: column agree0: "2": want 0 or 1`},
		{"class", "i,conf0,agree0,label\n0,1,1,-1\n", `line 2: column label: "-1": want a class, 0 to 16777215`},
		{"a class too high", "i,final_pred,conf0,agree0\n0,99999999,1,1\n", `line 2: column final_pred: "99999999": want a class, 0 to 16777215`},
		{"margin", "i,conf0,agree0,margin0\n0,1,1,1.5\n", `line 2: column margin0: "1.5": want a number from 0 to 1`},
		{"entropy", "i,conf0,agree0,entropy0\n0,1,1,-0.5\n", `line 2: column entropy0: "-0.5": want a number from 0 to 1`},
		{"final_conf", "i,conf0,agree0,final_conf\n0,1,1,x\n", `line 2: column final_conf: "x": want a number from 0 to 1`},
		{"no segment", "i,segment,conf0,agree0\n0,,1,1\n", `line 2: column segment: "": want a name of 1 to 100 bytes, without commas, quotes and line ends`},
		{"a segment that cannot be written", "i,segment,conf0,agree0\n0,\"a,b\",1,1\n", `line 2: column segment: "a,b": want a name of 1 to 100 bytes, without commas, quotes and line ends`},
		{"not packed", "\x1f\x8b", "unexpected EOF"},
		{"packed in part", zipped(t, small)[:60], "unexpected EOF"},
		{"contradiction", "i,conf0,agree0,pred0,final_pred\n0,1,1,3,4\n", "line 2: column agree0: 1, but pred0 is 3 and final_pred 4"},
		{"short line", "# a=b\n" + head + "0,1\n", "line 3: wrong number of fields"},
		{"quotes", head + "0,\"1,1\n", `line 2: extraneous or missing " in quoted-field`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(tc.text))
			if err == nil || err.Error() != "cannot read recorded exits: "+tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// TestReadTooMuch: the bound is of what comes out, however well it was packed.
func TestReadTooMuch(t *testing.T) {
	for name, text := range map[string]string{"plain": small, "packed": zipped(t, small)} {
		n := int64(len(small))
		if _, err := unpack(strings.NewReader(text), n); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := unpack(strings.NewReader(text), n-1); err == nil || !strings.HasPrefix(err.Error(), "has more than ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: whatever is accepted keeps the promises of the types, and is the
// same after it was written and read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("i,conf0,agree0\n0,0.5,1\n"))
	f.Add([]byte("# a=b\ni,segment,label,final_pred,conf0,agree0,pred0,margin0,entropy0,final_conf\n0,s,1,1,1,1,1,0,0,0.5\n"))
	f.Add([]byte("i,conf0,conf1,agree0,agree1\n7,1e-9,0x1p-2,0,1\n"))
	f.Add([]byte("# depths=0.5 ramp_cost=0.1\ni,conf0,agree0\n0,0.5,1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(s.Rows) == 0 || len(s.Segments) == 0 || s.Segments[0].From != 0 || s.Ramps < 1 || s.Ramps > earlyexit.MaxRamps {
			t.Fatalf("%d rows, segments %v, %d ramps", len(s.Rows), s.Segments, s.Ramps)
		}
		if s.Labels != nil && len(s.Labels) != len(s.Rows) || s.Final != nil && len(s.Final) != len(s.Rows) {
			t.Fatalf("%d labels, %d confidences of the end, %d rows", len(s.Labels), len(s.Final), len(s.Rows))
		}
		for i := range s.Rows {
			o := &s.Rows[i]
			if o.Seq != uint64(i) || o.Exit != -1 || !o.Ran || o.Audit != 1 || len(o.Signals) != s.Ramps || s.Ramps < 32 && o.Agree>>s.Ramps != 0 {
				t.Fatalf("row %d: %+v", i, o)
			}
			for ramp, g := range o.Signals {
				if !g.Seen() || g.Margin < 0 || g.Margin > 1 || g.Entropy < 0 || g.Entropy > 1 || int(g.Class) >= max(s.Classes(), 0) && g.Class != -1 {
					t.Fatalf("row %d, ramp %d: %+v of %d classes", i, ramp, g, s.Classes())
				}
				if g.Class >= 0 && o.Class >= 0 && (o.Agree>>ramp&1 == 1) != (g.Class == o.Class) {
					t.Fatalf("row %d, ramp %d: class %d, the model's %d, agree %b", i, ramp, g.Class, o.Class, o.Agree)
				}
			}
		}
		for i, c := range s.Final {
			if !(c >= 0 && c <= 1) {
				t.Fatalf("row %d: the end is %v sure", i, c)
			}
		}
		rewritten(t, s)
	})
}

// TestRecorded reads recordings of another network, and counts in them what is
// known of them.
func TestRecorded(t *testing.T) {
	const dir = "../../../shared/data/early_exit"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("NOT CHECKED against recorded exits: ", err)
	}
	for _, tc := range []struct {
		name        string
		rows, clean int
		classes     int
	}{
		{"fashion_mnist_multiexit_bootstrap.csv.gz", 6000, 0, 0},
		{"fashion_mnist_multiexit_stream_8000.csv.gz", 8000, 5000, 10},
	} {
		file, err := os.Open(filepath.Join(dir, tc.name))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		clean := 0
		agree := make([]float64, s.Ramps)
		for k, g := range s.Segments {
			if g.Name == "clean" {
				clean += s.End(k) - g.From
			}
		}
		for _, r := range s.Rows {
			for ramp := range agree {
				agree[ramp] += float64(r.Agree>>ramp&1) / float64(len(s.Rows))
			}
		}
		if s.Ramps != 7 || len(s.Rows) != tc.rows || clean != tc.clean || s.Classes() != tc.classes {
			t.Errorf("%s: %d ramps, %d rows, %d clean, %d classes", tc.name, s.Ramps, len(s.Rows), clean, s.Classes())
		}
		for ramp := 1; ramp < s.Ramps; ramp++ {
			if math.IsNaN(agree[ramp]) || agree[ramp] < agree[0] {
				t.Errorf("%s: ramp %d agrees less than the first: %v", tc.name, ramp, agree)
			}
		}
	}
}
