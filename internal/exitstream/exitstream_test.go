package exitstream

import (
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"motley/internal/earlyexit"
)

func TestRead(t *testing.T) {
	s, err := Read(strings.NewReader("\ufeff# model=fashion\n# seed = 3\n" +
		"i,segment,label,final_pred,conf0,conf1,agree0,agree1,pred0,pred1,margin0,margin1,entropy0,entropy1,final_conf\n" +
		"3,clean,7,2,0.5,0.75,0,1,1,2,0.25,0.5,0.125,1,1\n" +
		"5,\"dark, noisy\",2,4,1,0,1,0,4,3,0,0,0,0,0.5\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Stream{
		Notes: []Note{{"model", "fashion"}, {"seed", "3"}}, Ramps: 2, Classes: 8,
		Rows: []Row{
			{
				Index: 3, Segment: "clean", Label: 7, Final: earlyexit.Signal{Class: 2, Confidence: 1},
				Outcome: earlyexit.Outcome{
					Seq: 0, Exit: -1, Audit: 1, Ran: true, Agree: 0b10, Class: 2,
					Signals: []earlyexit.Signal{{Class: 1, Confidence: 0.5, Margin: 0.25, Entropy: 0.125}, {Class: 2, Confidence: 0.75, Margin: 0.5, Entropy: 1}},
				},
			},
			{
				Index: 5, Segment: "dark, noisy", Label: 2, Final: earlyexit.Signal{Class: 4, Confidence: 0.5},
				Outcome: earlyexit.Outcome{
					Seq: 1, Exit: -1, Audit: 1, Ran: true, Agree: 0b01, Class: 4,
					Signals: []earlyexit.Signal{{Class: 4, Confidence: 1}, {Class: 3}},
				},
			},
		},
	}
	for i := range s.Rows { // NaN is equal to nothing
		if g := &s.Rows[i].Final; g.Margin == g.Margin || g.Entropy == g.Entropy {
			t.Errorf("row %d: margin and entropy of the end are %v, %v; nobody gave them", i, g.Margin, g.Entropy)
		} else {
			g.Margin, g.Entropy = 0, 0
		}
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s.Note("seed") != "3" || s.Note("none") != "" {
		t.Errorf("notes %q", s.Notes)
	}
	if o := s.Outcomes(); !reflect.DeepEqual(o[1], want.Rows[1].Outcome) {
		t.Errorf("outcomes %+v", o)
	}
}

// What the file does not say stays unknown; above all, agree says nothing of
// what the ramp's answer was.
func TestReadLittle(t *testing.T) {
	s, err := Read(strings.NewReader("agree0,conf0,i\n1,0.9,0\n0,0.8,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range s.Rows {
		g := r.Signals[0]
		if g.Class != -1 || g.Margin == g.Margin || g.Entropy == g.Entropy || r.Class != -1 || r.Label != -1 || r.Segment != "" ||
			r.Final.Seen() || r.Agree != uint32(1-i) {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if s.Classes != 0 || s.Ramps != 1 || len(s.Rows) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestReadErrors(t *testing.T) {
	const head = "i,conf0,agree0\n"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "no header line"},
		{"only notes", "# a=b\n", "no header line"},
		{"no note", "# hello\n" + head, `line 1: "# hello": want # key=value`},
		{"no key", "# a=b\n#=x\n" + head, `line 2: "#=x": want # key=value`},
		{"no i", "conf0,agree0\n", "line 1: column i is missing"},
		{"no ramps", "i\n", "line 1: column conf0 is missing"},
		{"no agree", "i,conf0\n", "line 1: column agree0 is missing"},
		{"a gap", "i,conf0,conf2,agree0,agree2\n", "line 1: column conf1 is missing"},
		{"one agree too many", "i,conf0,agree0,agree1\n", "line 1: column conf1 is missing"},
		{"half of pred", "i,conf0,conf1,agree0,agree1,pred1\n", "line 1: column pred0 is missing"},
		{"twice", "# a=b\ni,conf0,conf0,agree0\n", "line 2: column conf0 is there twice"},
		{"i twice", "i,i,conf0,agree0\n", "line 1: column i is there twice"},
		{"unknown", "i,conf0,agree0,weight\n", `line 1: column 4: unknown column "weight"`},
		{"a number written oddly", "i,conf00,agree0\n", `line 1: column 2: unknown column "conf00"`},
		{"too many ramps", "i,conf32,agree0\n", "line 1: column conf32: at most 32 ramps"},
		{"i", head + "x,0,1\n", `line 2: column i: "x": want a whole number`},
		{"i again", "# a=b\n" + head + "1,0,1\n1,0,1\n", "line 4: column i: 1 is not above 1, the line before"},
		{"conf", head + "0,1.5,1\n", `line 2: column conf0: "1.5": want a number from 0 to 1`},
		{"NaN", head + "0,0.5,1\n1,NaN,1\n", `line 3: column conf0: "NaN": want a number from 0 to 1`},
		{"none", head + "0,,1\n", `line 2: column conf0: "": want a number from 0 to 1`},
		{"agree", head + "0,1,2\n", `line 2: column agree0: "2": want 0 or 1`},
		{"class", "i,conf0,agree0,label\n0,1,1,-1\n", `line 2: column label: "-1": want a class, 0 to 16777215`},
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

// FuzzRead: whatever is accepted keeps the promises of the types.
func FuzzRead(f *testing.F) {
	f.Add("i,conf0,agree0\n0,0.5,1\n")
	f.Add("# a=b\ni,segment,label,final_pred,conf0,agree0,pred0,margin0,entropy0,final_conf\n0,s,1,1,1,1,1,0,0,0.5\n")
	f.Add("i,conf0,conf1,agree0,agree1\n7,1e-9,0x1p-2,0,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if s.Ramps < 1 || s.Ramps > earlyexit.MaxRamps {
			t.Fatalf("%d ramps", s.Ramps)
		}
		for i, r := range s.Rows {
			if r.Seq != uint64(i) || len(r.Signals) != s.Ramps || r.Exit != -1 || !r.Ran || r.Lost || r.Agree>>s.Ramps != 0 && s.Ramps < 32 {
				t.Fatalf("row %d: %+v", i, r)
			}
			for ramp, g := range r.Signals {
				if !g.Seen() || g.Margin < 0 || g.Margin > 1 || g.Entropy < 0 || g.Entropy > 1 || int(g.Class) >= max(s.Classes, 0) && g.Class != -1 {
					t.Fatalf("row %d, ramp %d: %+v of %d classes", i, ramp, g, s.Classes)
				}
				if g.Class >= 0 && r.Class >= 0 && (r.Agree>>ramp&1 == 1) != (g.Class == r.Class) {
					t.Fatalf("row %d, ramp %d: class %d, the model's %d, agree %b", i, ramp, g.Class, r.Class, r.Agree)
				}
			}
			if c := r.Final.Confidence; c == c && !(c >= 0 && c <= 1) {
				t.Fatalf("row %d: the end is %v sure", i, c)
			}
		}
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
		unpacked, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Read(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		clean := 0
		agree := make([]float64, s.Ramps)
		for _, r := range s.Rows {
			if r.Segment == "clean" {
				clean++
			}
			for ramp := range agree {
				agree[ramp] += float64(r.Agree>>ramp&1) / float64(len(s.Rows))
			}
		}
		if s.Ramps != 7 || len(s.Rows) != tc.rows || clean != tc.clean || s.Classes != tc.classes {
			t.Errorf("%s: %d ramps, %d rows, %d clean, %d classes", tc.name, s.Ramps, len(s.Rows), clean, s.Classes)
		}
		for ramp := 1; ramp < s.Ramps; ramp++ {
			if math.IsNaN(agree[ramp]) || agree[ramp] < agree[0] {
				t.Errorf("%s: ramp %d agrees less than the first: %v", tc.name, ramp, agree)
			}
		}
	}
}
