package profiler

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"motley/internal/backend/backendtest"
	"motley/internal/pool"
)

func resultOf(model, kind, worker string, law func(int) float64, sizes ...int) Result {
	r := Result{Target: Target{Model: model, Type: kind, Worker: worker, Backend: &backendtest.Fake{}, Share: 1}, Ended: endAll, Runs: 10 * len(sizes), Took: time.Second}
	for _, n := range sizes {
		s := series{batch: n}
		for i := range 10 {
			s.took = append(s.took, law(n)*(1+float64(i-5)/500))
		}
		r.all = append(r.all, s)
		r.Largest = n
	}
	r.summarise()
	return r
}

// What is written is what the router, the planner and the simulator read.
func TestCSVRoundTrip(t *testing.T) {
	falls := func(n int) float64 { return affine(n) - 4e5*float64(n%2) } // a profile never falls
	results := []Result{
		resultOf("m", "fast", "w", affine, 1, 2, 8, 32),
		resultOf("m, \"quoted\"\nand more", "slow", "w", stepped, 1, 3, 5),
		{Target: Target{Model: "m", Type: "dead"}, Err: errors.New("down")},
		resultOf("other", "fast", "w", falls, 2, 3, 4),
	}
	var out bytes.Buffer
	if err := WriteCSV(&out, results, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "# measured by router profile, 1970-01-01T00:00:00Z\n") {
		t.Errorf("it does not say when:\n%s", &out)
	}
	rows, err := pool.ReadProfiles(&out)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for i, r := range results {
		highest := time.Duration(0)
		var points []pool.Point
		for _, s := range r.Sizes {
			row := rows[at]
			at++
			if row.Model != r.Target.Model || row.InstanceType != r.Target.Type || row.Batch != s.Batch {
				t.Fatalf("row %+v, want %s on %s, %d", row, r.Target.Model, r.Target.Type, s.Batch)
			}
			highest = max(highest, s.Mean)
			if i < 3 && (row.Mean-s.Mean).Abs() > 1 || row.Mean < highest-1 || row.P99 < s.P99-time.Microsecond {
				t.Errorf("row %+v of %+v", row, s)
			}
			points = append(points, row.Point)
		}
		p, err := pool.NewProfile(points)
		if err != nil {
			t.Fatal(err)
		}
		if fixed, item := p.Affine(); i < 3 && ((fixed-r.Law.Fixed).Abs() > time.Microsecond || (item-r.Law.PerItem).Abs() > time.Microsecond) {
			t.Errorf("the law is %v + %v, was %v + %v", fixed, item, r.Law.Fixed, r.Law.PerItem)
		}
	}
	if at != len(rows) {
		t.Errorf("%d rows, want %d", len(rows), at)
	}
}

func TestPrint(t *testing.T) {
	r := resultOf("m", "fast", "w-0", affine, 1, 2, 3, 4, 8)
	r.Refused, r.Notes = "a batch of 16 is refused: no", []string{"careful"}
	steps := resultOf("m", "slow", "w-1", stepped, 1, 2, 3, 4, 5, 6, 8)
	steps.Sizes[0].Count = 1
	down := Result{Target: Target{Model: "m", Type: "dead", Worker: "w-2", Backend: &backendtest.Fake{}}, Ended: "the worker does not answer", Err: errors.New("x")}
	var out bytes.Buffer
	if err := Print(&out, []Result{r, steps, down}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`m on fast: measured on w-0 \(fake\)\n`,
		`50 runs in 1s \(0 of them to warm up, 0 failed besides\)`,
		`\n +1 +2\.298 +± 0\.4 % +2\.318\* +435\.2 +10 +0 +[+-]0\.0 %`,
		`law: 1\.998 ms \+ 0\.2997 ms per item; worst residual 0\.0 %, at \d`,
		`held out: 3 of 3 sizes confirm the law of the others; worst at \d: \S+ ms predicted, \S+ ms measured, off by [+-]0\.0 ± 0\.\d %\n  largest`,
		`batch that worked: 8; a batch of 16 is refused: no`,
		`note: careful`,
		`note: batches are padded to the next power of two`,
		`\n +1 +2\.298 +\?`,
		`the affine law does not hold: trust`,
		`m on dead: measured on w-2 \(fake\)\n.*\n  ended: the worker does not answer\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("it does not say %s:\n%s", want, &out)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	r := resultOf("m", "fast", "w-0", affine, 1, 2, 4, 8)
	r.Err = errors.New("interrupted")
	var out bytes.Buffer
	if err := WriteJSON(&out, []Result{r}); err != nil {
		t.Fatal(err)
	}
	var forms []resultForm
	if err := json.Unmarshal(out.Bytes(), &forms); err != nil || len(forms) != 1 {
		t.Fatalf("%v: %s", err, &out)
	}
	f := forms[0]
	if f.Model != "m" || f.Backend != "fake" || len(f.Sizes) != 4 || len(f.HeldOut) != 2 || !f.HeldOut[0].Holds || f.Error != "interrupted" ||
		f.Sizes[3].MeanMS != ms(r.Sizes[3].Mean) || f.FixedMS != ms(r.Law.Fixed) {
		t.Errorf("%s", &out)
	}
	out.Reset()
	if err := WriteJSON(&out, nil); err != nil || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("nothing is %q, %v", &out, err)
	}
}

func TestPlot(t *testing.T) {
	dir := t.TempDir()
	wild := resultOf("m", "t", "w", affine, 4)
	wild.Sizes[0].Half = 2 * wild.Sizes[0].Mean
	for name, results := range map[string][]Result{
		"two.svg":  {resultOf("m", "fast", "w", affine, 1, 8, 64), resultOf("m", "slow", "w", stepped, 1, 8, 64), {}},
		"one.png":  {wild},
		"none.svg": nil,
	} {
		path := filepath.Join(dir, name)
		if err := Plot(path, results); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) < 1000 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
		if name == "two.svg" && !(bytes.Contains(data, []byte("m on fast")) && bytes.Contains(data, []byte("m on slow"))) {
			t.Error("the legend does not name the types")
		}
	}
}

func TestPooled(t *testing.T) {
	slower := func(n int) float64 { return 1.5 * affine(n) }
	a, b := resultOf("m", "t", "a", affine, 1, 8), resultOf("m", "t", "b", slower, 1, 4, 8)
	p := Pooled([]Result{a, b})
	if len(p.Sizes) != 3 || p.Sizes[1].Batch != 4 || p.Sizes[0].Count != 20 || p.Sizes[1].Count != 10 {
		t.Errorf("%+v", p.Sizes)
	}
	if off := float64(p.Sizes[0].Mean) / (1.25 * affine(1)); off < 0.99 || off > 1.01 {
		t.Errorf("the mean is %v times that of both", off)
	}
	if notes := strings.Join(p.Notes, ""); !strings.Contains(notes, "b takes ×1.50 of what a takes") {
		t.Errorf("notes: %q", notes)
	}
	if len(a.all[0].took) != 10 || len(b.all[0].took) != 10 {
		t.Error("what was pooled has changed")
	}
	if one := Pooled([]Result{a}); len(one.Sizes) != 2 || len(one.Notes) != 0 {
		t.Errorf("of one: %+v", one)
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := NewBar(&out)
	p := Progress{Target: &Target{Model: "m", Type: "fast"}, Batch: 16, Runs: 7, Share: 0.5}
	b.Show(p, 1, 2)
	b.Show(p, 1, 2) // too soon
	b.Clear()
	text := "[###############.....] 2/2 m on fast: batch 16, 7 runs"
	if want := "\r" + text + "\r\r" + strings.Repeat(" ", len(text)) + "\r"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
	var silent bytes.Buffer
	NewBar(&silent).Clear()
	if silent.Len() > 0 {
		t.Errorf("a bar that was never shown: %q", &silent)
	}
}
