package engine

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"motley/internal/oip"
)

func loadFashion(t testing.TB) Staged {
	t.Helper()
	m, err := Builtin("fashion")
	if err != nil {
		t.Fatal(err)
	}
	return m.(Staged)
}

func imageTensor(pixels []float32) []oip.Tensor {
	return []oip.Tensor{{Name: "image", Datatype: oip.FP32, Shape: []int64{int64(len(pixels) / 784), 1, 28, 28}, Data: appendFloats(nil, pixels)}}
}

func floatsOf(data []byte) []float32 {
	f := make([]float32, len(data)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return f
}

func labelsOf(data []byte) []int64 {
	l := make([]int64, len(data)/8)
	for i := range l {
		l[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return l
}

// example reads a request of examples/ and the labels that its id expects.
func example(t testing.TB, name string) ([]float32, []int64) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		ID     string
		Inputs []struct{ Data []float32 }
	}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	var want []int64
	for _, s := range strings.Split(strings.TrimPrefix(r.ID, "expect-"), "-") {
		l, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, l)
	}
	return r.Inputs[0].Data, want
}

func TestExamples(t *testing.T) {
	m := loadFashion(t)
	for _, name := range []string{"infer.json", "batch.json"} {
		pixels, want := example(t, name)
		out, err := m.Run(context.Background(), imageTensor(pixels), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := labelsOf(out[1].Data); !slices.Equal(got, want) {
			t.Errorf("%s: labels %v, want %v", name, got, want)
		}
	}
}

// testSet finds Fashion-MNIST's test images and labels.
func testSet(t testing.TB) ([]float32, []byte) {
	dir := os.Getenv("MOTLEY_FASHION_DIR")
	if dir == "" {
		dir = "/usr/share/datasets/fashion-mnist"
	}
	read := func(name string, head int) []byte {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("SKIPPED: no Fashion-MNIST (Debian package dataset-fashion-mnist, or MOTLEY_FASHION_DIR): %v", err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return b[head:]
	}
	raw := read("t10k-images-idx3-ubyte.gz", 16)
	pixels := make([]float32, len(raw))
	for i, v := range raw {
		pixels[i] = float32(v) / 255
	}
	return pixels, read("t10k-labels-idx1-ubyte.gz", 8)
}

func TestAccuracy(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	pixels, labels := testSet(t)
	m := loadFashion(t)
	right := make([]int, m.Stages())
	for i := 0; i < len(labels); i += 50 {
		e, err := m.Begin(imageTensor(pixels[i*784 : (i+50)*784]))
		if err != nil {
			t.Fatal(err)
		}
		for !e.Done() {
			exit, err := e.Next(context.Background(), true)
			if err != nil {
				t.Fatal(err)
			}
			for j, r := range exit.Rows {
				if argmax(exit.Probabilities[j*10:][:10]) == int64(labels[i+r]) {
					right[exit.Stage]++
				}
			}
		}
		e.Close()
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "model.md"))
	if err != nil {
		t.Fatal(err)
	}
	for k, n := range right {
		t.Logf("exit %d: %d of %d right", k, n, len(labels))
		if cell := fmt.Sprintf("| %.2f %% |", float64(n)/100); !bytes.Contains(doc, []byte(cell)) {
			t.Errorf("exit %d: %d of 10000 right, which docs/model.md does not say (%q)", k, n, cell)
		}
	}
}

// noise is a batch of made-up images.
func noise(n int) []float32 {
	p := make([]float32, n*784)
	s := uint32(1)
	for i := range p {
		s = s*1664525 + 1013904223
		p[i] = float32(s>>8) / (1 << 24)
	}
	return p
}

// TestAloneEqualsBatched holds an item's probabilities to the bit, alone, in a batch, and
// with its neighbours dropped at any stage.
func TestAloneEqualsBatched(t *testing.T) {
	m := loadFashion(t)
	ctx := context.Background()
	const n = 13
	pixels := noise(n)
	alone := make([][]float32, n) // by row: every exit's probabilities
	for i := range n {
		for _, p := range exits(t, m, pixels[i*784:(i+1)*784], nil) {
			alone[i] = append(alone[i], p[0]...)
		}
	}
	for dropAt := range m.Stages() {
		got := exits(t, m, pixels, func(stage int, rows []int) []int {
			if stage != dropAt {
				return rows
			}
			return slices.DeleteFunc(slices.Clone(rows), func(r int) bool { return r%3 == 1 })
		})
		for k, rows := range got {
			for r, p := range rows {
				if !slices.Equal(p, alone[r][k*10:][:10]) {
					t.Fatalf("dropping at stage %d: exit %d of row %d is %v, alone it is %v", dropAt, k, r, p, alone[r][k*10:][:10])
				}
			}
		}
	}
	whole, err := m.Run(ctx, imageTensor(pixels), []string{"label", "probabilities"})
	if err != nil {
		t.Fatal(err)
	}
	for r := range n {
		if last := alone[r][60:]; !slices.Equal(floatsOf(whole[1].Data)[r*10:][:10], last) || labelsOf(whole[0].Data)[r] != argmax(last) {
			t.Errorf("row %d: whole and staged execution differ", r)
		}
	}
}

// exits runs a batch through all stages and gives, by exit, each row's
// probabilities. Before each stage keep chooses the rows.
func exits(t testing.TB, m Staged, pixels []float32, keep func(int, []int) []int) []map[int][]float32 {
	t.Helper()
	e, err := m.Begin(imageTensor(pixels))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all []map[int][]float32
	for !e.Done() {
		if keep != nil {
			if err := e.Keep(keep(len(all), slices.Clone(e.Rows()))); err != nil {
				t.Fatal(err)
			}
		}
		exit, err := e.Next(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		rows := map[int][]float32{}
		for i, r := range exit.Rows {
			rows[r] = slices.Clone(exit.Probabilities[i*10:][:10])
		}
		all = append(all, rows)
	}
	return all
}

// TestNaN: a row of NaN answers NaN, and no other row notices.
func TestNaN(t *testing.T) {
	m := loadFashion(t)
	pixels := noise(3)
	clean := exits(t, m, pixels, nil)
	for i := range 784 {
		pixels[784+i] = float32(math.NaN())
	}
	for k, rows := range exits(t, m, pixels, nil) {
		if !slices.Equal(rows[0], clean[k][0]) || !slices.Equal(rows[2], clean[k][2]) {
			t.Errorf("exit %d: NaN spread to other rows", k)
		}
		if rows[1][0] == rows[1][0] {
			t.Errorf("exit %d: NaN image gives %v", k, rows[1])
		}
	}
}

func TestRunRefuses(t *testing.T) {
	m := loadFashion(t)
	good := func() oip.Tensor { return imageTensor(noise(1))[0] }
	edit := func(f func(*oip.Tensor)) []oip.Tensor { x := good(); f(&x); return []oip.Tensor{x} }
	for name, c := range map[string]struct {
		in   []oip.Tensor
		want []string
	}{
		"no input":       {},
		"two inputs":     {in: []oip.Tensor{good(), good()}},
		"name":           {in: edit(func(x *oip.Tensor) { x.Name = "picture" })},
		"datatype":       {in: edit(func(x *oip.Tensor) { x.Datatype = oip.FP64 })},
		"no shape":       {in: edit(func(x *oip.Tensor) { x.Shape = nil })},
		"no items":       {in: edit(func(x *oip.Tensor) { x.Shape[0], x.Data = 0, nil })},
		"negative":       {in: edit(func(x *oip.Tensor) { x.Shape[0] = -1 })},
		"negative side":  {in: edit(func(x *oip.Tensor) { x.Shape[2] = -28 })},
		"channels":       {in: edit(func(x *oip.Tensor) { x.Shape[1] = 3 })},
		"dimensions":     {in: edit(func(x *oip.Tensor) { x.Shape = x.Shape[:3] })},
		"too many items": {in: imageTensor(noise(65))},
		"too little":     {in: edit(func(x *oip.Tensor) { x.Data = x.Data[4:] })},
		"output":         {in: []oip.Tensor{good()}, want: []string{"logits"}},
		"ramp":           {in: []oip.Tensor{good()}, want: []string{"ramp0_probabilities"}},
		"output twice":   {in: []oip.Tensor{good()}, want: []string{"label", "label"}},
	} {
		_, err := m.Run(context.Background(), c.in, c.want)
		if e, ok := err.(*oip.Error); !ok || e.Status != 400 {
			t.Errorf("%s: %v, want an oip.Error with status 400", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Run(ctx, []oip.Tensor{good()}, nil); err == nil {
		t.Error("a cancelled context is not honoured")
	}
}

// TestRampAnswers: at a ramp, Outputs has the form of the model's own, and
// rows that Keep dropped can still be answered.
func TestRampAnswers(t *testing.T) {
	m := loadFashion(t)
	e, err := m.Begin(imageTensor(noise(4)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	exit, err := e.Next(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(exit.Probabilities)
	if err := e.Keep([]int{0, 2}); err != nil {
		t.Fatal(err)
	}
	out, err := e.Outputs([]int{1, 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := floatsOf(out[0].Data); !slices.Equal(got, append(slices.Clone(want[10:20]), want[30:40]...)) {
		t.Error("the answer is not the ramp's")
	}
	if got := labelsOf(out[1].Data); got[0] != argmax(want[10:20]) || got[1] != argmax(want[30:40]) {
		t.Error("the labels are not the ramp's")
	}
	// Row by row to their places, in memory that was used before.
	used, err := m.Store(nil, 9, []string{"label", "probabilities"})
	if err != nil {
		t.Fatal(err)
	}
	store, err := m.Store(used, 4, []string{"label", "probabilities"})
	if err != nil || &store[1].Data[0] != &used[1].Data[0] {
		t.Errorf("Store: %v, or it took new memory", err)
	}
	for _, rows := range [][]int{{1}, {0, 2, 3}} {
		if err := e.Answer(store, rows, []string{"label", "probabilities"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := floatsOf(store[1].Data); !slices.Equal(got, want) || !slices.Equal(store[0].Shape, []int64{4, 1}) || !slices.Equal(store[1].Shape, []int64{4, 10}) {
		t.Errorf("the stored answers are %v, want %v", got, want)
	}
	for r, label := range labelsOf(store[0].Data) {
		if label != argmax(want[10*r:][:10]) {
			t.Errorf("the stored label of row %d is %d", r, label)
		}
	}
	if e.Answer(store, []int{4}, []string{"label", "probabilities"}) == nil || e.Answer(store[:1], []int{0}, []string{"label", "probabilities"}) == nil {
		t.Error("a row or an output that is not there is answered")
	}
	if m.Classes() != 10 {
		t.Errorf("%d classes", m.Classes())
	}
	for _, bad := range [][]int{{1}, {2, 0}, {0, 0}, {7}, {-1}} {
		if e.Keep(bad) == nil {
			t.Errorf("Keep(%v) is accepted", bad)
		}
	}
	if err := e.Keep(nil); err != nil || !e.Done() {
		t.Errorf("Keep(nil): %v, done %v", err, e.Done())
	}
	if _, err := e.Next(context.Background(), true); err == nil {
		t.Error("Next runs with no rows left")
	}
}

func TestConcurrentRuns(t *testing.T) {
	m := loadFashion(t)
	var group sync.WaitGroup
	for n := 1; n <= 8; n++ {
		in := imageTensor(noise(n))
		group.Go(func() {
			for range 5 {
				out, err := m.Run(context.Background(), in, nil)
				if err != nil {
					t.Error(err)
					return
				}
				again, err := m.Run(context.Background(), in, nil)
				if err != nil || !bytes.Equal(out[0].Data, again[0].Data) {
					t.Errorf("%d items: runs side by side differ, %v", n, err)
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkFashion(b *testing.B) {
	m := loadFashion(b)
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			in := imageTensor(noise(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Run(context.Background(), in, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/item")
		})
	}
}
