package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/oip"
)

// script is a Watcher that does what the test says and writes down what it is
// told.
type script struct {
	set        uint32
	at         func(s *Sight)
	onAnswered func(i int)
	onShow     func(i, ramp int, m oip.Message)

	rows     []int
	exits    []int // of the sights
	seen     [][]int
	signals  [][]earlyexit.Signal
	together bool
	answered []int
}

func (w *script) Begin(rows []int) uint32 {
	w.rows = slices.Clone(rows)
	return w.set
}

func (w *script) At(s *Sight) {
	w.exits = append(w.exits, s.Exit)
	w.seen = append(w.seen, slices.Clone(s.Rows))
	w.signals = append(w.signals, slices.Clone(s.Signals))
	w.together = s.Together
	if slices.Contains(s.Leave, true) || slices.Contains(s.Stop, true) || len(s.Leave) != len(s.Rows) || len(s.Stop) != len(s.Rows) {
		panic("BUG: the sight is not fresh")
	}
	if w.at != nil {
		w.at(s)
	}
}

func (w *script) Answered(i int) {
	w.answered = append(w.answered, i)
	if w.onAnswered != nil {
		w.onAnswered(i)
	}
}

func (w *script) Show(i, ramp int, m oip.Message) {
	if w.onShow != nil {
		w.onShow(i, ramp, m)
	}
}

func fashion(tb testing.TB) (*Embedded, engine.Staged) {
	tb.Helper()
	m, err := engine.Builtin("fashion")
	if err != nil {
		tb.Fatal(err)
	}
	return NewEmbedded(map[string]engine.Model{"fashion": m}, "test"), m.(engine.Staged)
}

// images are n made-up images.
func images(seed uint64, n int) []float32 {
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := make([]float32, n*784)
	for i := range p {
		p[i] = float32(rnd.IntN(256)) / 256
	}
	return p
}

// imageCall is a request for n images, in binary where inBinary is set.
func imageCall(tb testing.TB, m engine.Staged, pixels []float32, inBinary bool, more string) *Call {
	tb.Helper()
	n := len(pixels) / 784
	var body []byte
	head := -1
	if inBinary {
		body = fmt.Appendf(nil, `{"parameters":{"binary_data_output":true},"inputs":[{"name":"image","shape":[%d,1,28,28],"datatype":"FP32","parameters":{"binary_data_size":%d}}]%s}`, n, 4*len(pixels), more)
		head = len(body)
		body = appendFloats(body, pixels...)
	} else {
		data, err := json.Marshal(pixels)
		if err != nil {
			tb.Fatal(err)
		}
		body = fmt.Appendf(nil, `{"inputs":[{"name":"image","shape":[%d,1,28,28],"datatype":"FP32","data":%s}]%s}`, n, data, more)
	}
	q := &oip.Request{Model: "fashion"}
	if err := q.Parse(body, head, nil); err != nil {
		tb.Fatal(err)
	}
	if err := q.Check(m.Metadata(), true, 64); err != nil {
		tb.Fatal(err)
	}
	return &Call{Request: q}
}

// alone is what every exit says of each image, run by itself.
func alone(tb testing.TB, m engine.Staged, pixels []float32) (byRow [][][]float32) {
	tb.Helper()
	for ; len(pixels) > 0; pixels = pixels[784:] {
		e, err := m.Begin([]oip.Tensor{{Name: "image", Datatype: oip.FP32, Shape: []int64{1, 1, 28, 28}, Data: appendFloats(nil, pixels[:784]...)}})
		if err != nil {
			tb.Fatal(err)
		}
		var row [][]float32
		for !e.Done() {
			x, err := e.Next(tb.Context(), true)
			if err != nil {
				tb.Fatal(err)
			}
			row = append(row, slices.Clone(x.Probabilities))
		}
		e.Close()
		byRow = append(byRow, row)
	}
	return byRow
}

// answer is a response to imageCall, read back.
type answer struct {
	probabilities []float32
	labels        []float32
	mark          oip.ExitMark
	marked        bool
	binary        bool
}

func readAnswer(tb testing.TB, m oip.Message) (a answer) {
	tb.Helper()
	var r oip.Response
	if err := r.Parse(m.Body, m.HeadLength, nil); err != nil {
		tb.Fatalf("%v in %s", err, m.Body)
	}
	a.mark, a.marked = r.ExitMark()
	a.binary = m.HeadLength >= 0
	for i := range r.Outputs {
		o := &r.Outputs[i]
		switch {
		case string(o.Name) == "probabilities":
			var err error
			if a.probabilities, err = o.Floats(nil); err != nil {
				tb.Fatal(err)
			}
		case string(o.Name) == "label" && o.JSON != nil:
			a.labels = []float32{}
			var flat []int
			if err := json.Unmarshal(o.JSON, &flat); err != nil {
				tb.Fatal(err)
			}
			for _, v := range flat {
				a.labels = append(a.labels, float32(v))
			}
		}
	}
	return a
}

// What comes out of a staged batch, whoever leaves where, is what each row alone
// says at the exit that it left by.
func TestEmbeddedStagedAgainstRowsAlone(t *testing.T) {
	b, m := fashion(t)
	ramps := m.Stages() - 1
	pixels := images(7, 24)
	want := alone(t, m, pixels)
	for seed := range uint64(25) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var calls []*Call
		var sizes, first []int
		total := 0
		for total < 12 {
			n := 1 + rnd.IntN(4)
			c := imageCall(t, m, pixels[total*784:(total+n)*784], rnd.IntN(2) == 0, "")
			c.Mark = rnd.IntN(2) == 0
			calls, sizes, first = append(calls, c), append(sizes, n), append(first, total)
			total += n
		}
		owner := make([]int, total)
		for i := range calls {
			for r := range sizes[i] {
				owner[first[i]+r] = i
			}
		}
		exitOf := make([]int, total)  // by row: the exit that answers
		gone := make([]bool, total)   // stopped
		left := make([]bool, total)   // answered by a ramp
		final := map[int]answer{}     // by call
		exits := map[int][2]float32{} // by call: Exit and Confidence as the call has them
		for r := range exitOf {
			exitOf[r] = ramps
		}
		w := &script{set: rnd.Uint32()}
		w.at = func(s *Sight) {
			var running []int
			for r := range total {
				if !gone[r] {
					running = append(running, r)
				}
			}
			if !slices.Equal(s.Rows, running) {
				t.Fatalf("seed %d: exit %d sees rows %v, want %v", seed, s.Exit, s.Rows, running)
			}
			for k, r := range s.Rows {
				if s.Signals[k] != earlyexit.SignalOf(want[r][s.Exit]) {
					t.Fatalf("seed %d: exit %d, row %d: signal %+v", seed, s.Exit, r, s.Signals[k])
				}
				if s.Exit == ramps {
					s.Leave[k] = !left[r] // the watcher may leave it to the backend
					continue
				}
				if !left[r] && rnd.IntN(3) == 0 {
					s.Leave[k], left[r], exitOf[r] = true, true, s.Exit
				}
				if left[r] && rnd.IntN(2) == 0 {
					s.Stop[k], gone[r] = true, true
				}
			}
		}
		keep := func(i int) {
			final[i] = readAnswer(t, calls[i].Response)
			exits[i] = [2]float32{float32(calls[i].Exit), calls[i].Confidence}
		}
		w.onAnswered = func(i int) {
			for r := range sizes[i] {
				if !left[first[i]+r] {
					t.Fatalf("seed %d: call %d is answered before its row %d", seed, i, r)
				}
			}
			keep(i)
			*calls[i] = Call{} // whoever touches it now fails
		}
		marked := make([]bool, len(calls))
		binary := make([]bool, len(calls))
		for i, c := range calls {
			marked[i], binary[i] = c.Mark, c.Request.BinaryOutput
		}
		if err := b.RunStaged(t.Context(), "fashion", calls, w); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !slices.Equal(w.rows, sizes) || w.together {
			t.Fatalf("seed %d: rows %v, together %t", seed, w.rows, w.together)
		}
		for _, k := range w.exits {
			if k < ramps && w.set>>k&1 == 0 {
				t.Errorf("seed %d: ramp %d was not asked for", seed, k)
			}
		}
		if slices.Contains(gone, false) != (w.exits[len(w.exits)-1] == ramps) {
			t.Errorf("seed %d: exits %v, stopped %v", seed, w.exits, gone)
		}
		for i := range calls {
			if _, early := final[i]; !early {
				keep(i)
			}
			a, latest, least := final[i], 0, float32(2)
			for r := range sizes[i] {
				p := want[first[i]+r][exitOf[first[i]+r]]
				if !slices.Equal(a.probabilities[10*r:10*r+10], p) {
					t.Errorf("seed %d: call %d, row %d: %v, want %v", seed, i, r, a.probabilities[10*r:10*r+10], p)
				}
				if a.labels != nil && a.labels[r] != float32(earlyexit.SignalOf(p).Class) {
					t.Errorf("seed %d: call %d, row %d: label %v", seed, i, r, a.labels[r])
				}
				latest, least = max(latest, exitOf[first[i]+r]), min(least, earlyexit.SignalOf(p).Confidence)
			}
			if exits[i] != [2]float32{float32(latest), least} {
				t.Errorf("seed %d: call %d has exit and confidence %v, want %d, %v", seed, i, exits[i], latest, least)
			}
			if a.marked != marked[i] || a.marked && a.mark != (oip.ExitMark{Exit: latest, Final: true, Confidence: least}) || a.binary != binary[i] {
				t.Errorf("seed %d: call %d: mark %+v (%t), binary %t", seed, i, a.mark, a.marked, a.binary)
			}
		}
	}
}

// A client that wants to see ramps gets each as a whole answer, as JSON, beside
// others that leave.
func TestEmbeddedShows(t *testing.T) {
	b, m := fashion(t)
	pixels := images(3, 3)
	want := alone(t, m, pixels)
	calls := []*Call{imageCall(t, m, pixels[:784], false, ""), imageCall(t, m, pixels[784:], true, "")}
	calls[1].Ramps = 1<<1 | 1<<4
	var shown []string
	w := &script{set: 1<<1 | 1<<2 | 1<<4}
	w.at = func(s *Sight) {
		if s.Rows[0] == 0 && s.Exit == 1 {
			s.Leave[0], s.Stop[0] = true, true
		}
		if s.Exit == 2 { // the first of the call's rows leaves and runs on
			s.Leave[0] = true
		}
	}
	w.onShow = func(i, ramp int, got oip.Message) {
		a := readAnswer(t, got)
		least := min(earlyexit.SignalOf(want[1][ramp]).Confidence, earlyexit.SignalOf(want[2][ramp]).Confidence)
		exit := [2]int{ramp, ramp}
		if ramp > 2 {
			exit[0] = 2
			least = min(earlyexit.SignalOf(want[1][2]).Confidence, earlyexit.SignalOf(want[2][ramp]).Confidence)
		}
		if !slices.Equal(a.probabilities, append(slices.Clone(want[1][exit[0]]), want[2][exit[1]]...)) || a.binary ||
			a.mark != (oip.ExitMark{Exit: ramp, Confidence: least}) {
			t.Errorf("ramp %d shows %+v, want %v", ramp, a, least)
		}
		shown = append(shown, fmt.Sprint(i, "/", ramp))
	}
	if err := b.RunStaged(t.Context(), "fashion", calls, w); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(shown, []string{"1/1", "1/4"}) || !slices.Equal(w.answered, []int{0}) {
		t.Errorf("shown %v, answered %v", shown, w.answered)
	}
	if a := readAnswer(t, calls[1].Response); !a.binary || !slices.Equal(a.probabilities, append(slices.Clone(want[1][2]), want[2][6]...)) || calls[1].Exit != 6 {
		t.Errorf("the answer: %+v, exit %d", a, calls[1].Exit)
	}
}

func TestEmbeddedStagedOutputsAndErrors(t *testing.T) {
	b, m := fashion(t)
	pixels := images(3, 2)
	// Only what was asked for, classified.
	c := imageCall(t, m, pixels, false, `,"outputs":[{"name":"probabilities","parameters":{"classification":1}}]`)
	w := &script{set: 1, at: func(s *Sight) {
		for k := range s.Rows {
			s.Leave[k], s.Stop[k] = true, true
		}
	}}
	if err := b.RunStaged(t.Context(), "fashion", []*Call{c}, w); err != nil || c.Err != nil {
		t.Fatal(err, c.Err)
	}
	want := alone(t, m, pixels)
	var r oip.Response
	if err := r.Parse(c.Response.Body, -1, nil); err != nil || len(r.Outputs) != 1 || !slices.Equal(w.exits, []int{0}) {
		t.Fatalf("%v: %s, exits %v", err, c.Response.Body, w.exits)
	}
	var classes []string
	if err := json.Unmarshal(r.Outputs[0].JSON, &classes); err != nil {
		t.Fatal(err)
	}
	for i, got := range classes {
		if class := fmt.Sprint(":", earlyexit.SignalOf(want[i][0]).Class); !strings.HasSuffix(got, class) {
			t.Errorf("row %d: %q, want …%s", i, got, class)
		}
	}

	// A call that cannot be decoded takes no part.
	bad := imageCall(t, m, pixels[:784], false, "")
	bad.Request.Inputs[0].JSON = []byte("[1e99]") // FP32 has no such number
	good := imageCall(t, m, pixels[784:], false, "")
	w = &script{}
	if err := b.RunStaged(t.Context(), "fashion", []*Call{bad, good}, w); err != nil || good.Err != nil || bad.Err == nil {
		t.Fatalf("%v; good: %v, bad: %v", err, good.Err, bad.Err)
	}
	wantClass(t, bad.Err, Client)
	if !slices.Equal(w.rows, []int{0, 1}) || !slices.Equal(w.exits, []int{6}) || !slices.Equal(readAnswer(t, good.Response).probabilities, want[1][6]) {
		t.Errorf("rows %v, exits %v: %s", w.rows, w.exits, good.Response.Body)
	}

	// The batch as a whole.
	wantClass(t, b.RunStaged(t.Context(), "nothing", []*Call{good}, w), Server)
	large := imageCall(t, m, images(1, 64), true, "")
	wantClass(t, b.RunStaged(t.Context(), "fashion", []*Call{good, large}, w), Client)
	boom := &script{set: 1, at: func(*Sight) { panic("boom") }}
	wantClass(t, b.RunStaged(t.Context(), "fashion", []*Call{good}, boom), Server)
	odd := imageCall(t, m, pixels[784:], false, `,"outputs":[{"name":"label"}]`)
	odd.Request.Outputs[0].Name = []byte("logits")
	wantClass(t, b.RunStaged(t.Context(), "fashion", []*Call{odd}, &script{}), Client)
}

// Who has an answer keeps it when the caller gives up; the rest stops at the next
// stage.
func TestEmbeddedStagedCanceled(t *testing.T) {
	b, m := fashion(t)
	pixels := images(3, 2)
	calls := []*Call{imageCall(t, m, pixels[:784], false, ""), imageCall(t, m, pixels[784:], false, "")}
	ctx, cancel := context.WithCancel(t.Context())
	w := &script{set: 1<<6 - 1, at: func(s *Sight) {
		if s.Exit == 2 {
			s.Leave[0] = true
			cancel()
		}
	}}
	wantClass(t, b.RunStaged(ctx, "fashion", calls, w), Canceled)
	if !slices.Equal(w.exits, []int{0, 1, 2}) || !slices.Equal(w.answered, []int{0}) {
		t.Errorf("exits %v, answered %v", w.exits, w.answered)
	}
	if a := readAnswer(t, calls[0].Response); !slices.Equal(a.probabilities, alone(t, m, pixels[:784])[0][2]) || a.marked {
		t.Errorf("%+v", a)
	}
	wantClass(t, b.RunStaged(ctx, "fashion", calls, &script{}), Canceled)
}

func TestEmbeddedExits(t *testing.T) {
	b, m := fashion(t)
	x := b.Exits("fashion")
	if x.Ramps != 6 || x.Classes != 10 || len(x.Depth) != 6 || x.Costs != nil || b.Exits("nothing") != nil {
		t.Errorf("%+v", x)
	}
	// Of docs/model.md, in millions of 5.37.
	for k, want := range []float64{0.79, 1.81, 2.82, 3.25, 3.95, 4.66} {
		if got := x.Depth[k]; got < want/5.37-0.003 || got > want/5.37+0.003 {
			t.Errorf("ramp %d: depth %v, want %v", k, got, want/5.37)
		}
	}
	if _, err := b.Probe(t.Context(), "fashion"); err != nil {
		t.Fatal(err)
	}
	costs := b.Exits("fashion").Costs
	if len(costs) == 0 || x.Costs != nil || costs[0].Batch != 1 {
		t.Fatalf("costs %+v", costs)
	}
	for _, c := range costs {
		if !slices.IsSorted(c.Until) || len(c.Until) != 6 || len(c.Ramp) != 6 || c.Until[5] >= c.Whole || c.Whole > 10 {
			t.Errorf("cost %+v", c)
		}
	}
	if NewEmbedded(map[string]engine.Model{"double": &doubler{}}, "test").Exits("double") != nil {
		t.Error("a model without stages has exits")
	}
	// Another backend of the same model has them from the first.
	c := NewEmbedded(map[string]engine.Model{"f": m}, "test")
	if _, err := c.Probe(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	again := c.Exits("f").Costs
	if !slices.EqualFunc(again, costs, func(a, b earlyexit.Cost) bool { return a.Whole == b.Whole }) {
		t.Errorf("the model was measured twice: %+v, %+v", costs, again)
	}
}

// leaver lets every row leave and stop at its ramp.
type leaver struct{ ramp int }

func (w leaver) Begin([]int) uint32         { return 1 << w.ramp }
func (w leaver) Answered(int)               {}
func (w leaver) Show(int, int, oip.Message) {}
func (w leaver) At(s *Sight) {
	for k := range s.Rows {
		s.Leave[k], s.Stop[k] = true, true
	}
}

// BenchmarkEmbeddedStaged: a batch of single images that all leave at a ramp.
func BenchmarkEmbeddedStaged(b *testing.B) {
	e, m := fashion(b)
	for _, n := range []int{1, 8, 32} {
		for _, ramp := range []int{0, 5} {
			b.Run(fmt.Sprintf("batch=%d/ramp=%d", n, ramp), func(b *testing.B) {
				var calls []*Call
				for i := range n {
					calls = append(calls, imageCall(b, m, images(uint64(i), 1), true, ""))
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := e.RunStaged(context.Background(), "fashion", calls, leaver{ramp}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
