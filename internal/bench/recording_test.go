package bench

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/exitstream"
)

// madeUp writes a data set of n pictures, 28×28, and returns its folder.
func madeUp(t *testing.T, n int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	pixels := make([]byte, n*28*28)
	for i := range pixels {
		pixels[i] = byte(rng.IntN(256))
	}
	labels := make([]byte, n)
	for i := range labels {
		labels[i] = byte(i % 10)
	}
	dir := t.TempDir()
	writeIDX(t, filepath.Join(dir, "t10k-images-idx3-ubyte.gz"), pixels, n, 28, 28)
	writeIDX(t, filepath.Join(dir, "t10k-labels-idx1-ubyte.gz"), labels, n)
	return dir
}

func idx(t *testing.T, data []byte, dims ...int) []byte {
	t.Helper()
	head := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		head = binary.BigEndian.AppendUint32(head, uint32(d))
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(append(head, data...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeIDX(t *testing.T, name string, data []byte, dims ...int) {
	t.Helper()
	if err := os.WriteFile(name, idx(t, data, dims...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRecord: the same flags give the same bytes, another seed others; what is
// written is a stream of the rows and segments that were asked for.
func TestRecord(t *testing.T) {
	dir := madeUp(t, 20)
	var files [][]byte
	for i, c := range []Recorder{
		{Seed: 1}, {Seed: 1}, {Seed: 2}, {Seed: 1, Video: 5}, {Seed: 1, Video: 5}, {Seed: 1, Images: "3..4"},
	} {
		c.Dir, c.Split, c.Model, c.Shuffle = dir, "t10k", "fashion", true
		c.Segments = "clean:20,noise=0.25:10,brightness=0.5:10,shift=2:10,clean:5,clean:5,ramp=0..0.3:10"
		c.Out = filepath.Join(t.TempDir(), "s.csv.gz")
		text := printed(t, c.Run, i == 0)
		want(t, text, "70")
		b, err := os.ReadFile(c.Out)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
		s, err := loadStream(c.Out)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Rows) != 70 || s.Ramps != 6 || len(s.Segments) != 6 || s.Segments[4] != (exitstream.Segment{Name: "clean", From: 50}) || s.Segments[5].Name != "ramp=0..0.3" ||
			len(s.Labels) != 70 || len(s.Final) != 70 || s.Classes() < 2 {
			t.Errorf("%d rows, %d ramps, %v", len(s.Rows), s.Ramps, s.Segments)
		}
		if err := s.SetCosts(nil, nil); err != nil || len(s.Depth) != 6 || s.RampCost[0] <= 0 || s.RampCost[0] > 0.01 {
			t.Errorf("depths %v, ramp costs %v, %v", s.Depth, s.RampCost, err)
		}
		for k := range s.Rows {
			if c.Images != "" && s.Labels[k] != 3 && s.Labels[k] != 4 {
				t.Fatalf("row %d shows a picture of %d", k, s.Labels[k])
			}
			if c.Video == 5 && s.Labels[k] != s.Labels[k-k%5] {
				t.Fatalf("row %d shows another picture than the row that begins it", k)
			}
		}
	}
	if !bytes.Equal(files[0], files[1]) || !bytes.Equal(files[3], files[4]) {
		t.Error("the same flags gave other bytes")
	}
	if bytes.Equal(files[0], files[2]) || bytes.Equal(files[0], files[3]) {
		t.Error("another seed, or a video, gave the same bytes")
	}
}

func TestRecordErrors(t *testing.T) {
	good := Recorder{Out: filepath.Join(t.TempDir(), "s.csv"), Dir: madeUp(t, 3), Split: "t10k", Segments: "clean:3", Model: "fashion"}
	for name, c := range map[string]struct {
		spoil func(*Recorder)
		want  string
	}{
		"no file":    {func(r *Recorder) { r.Out = "" }, "-o"},
		"split":      {func(r *Recorder) { r.Split = "test" }, "-split"},
		"video":      {func(r *Recorder) { r.Video = -1 }, "-video"},
		"model":      {func(r *Recorder) { r.Model = "resnet" }, "-model"},
		"images":     {func(r *Recorder) { r.Images = "0..3" }, "pictures 0 to 2"},
		"one image":  {func(r *Recorder) { r.Images = "1" }, "-images"},
		"segments":   {func(r *Recorder) { r.Segments = "clean" }, "-segments"},
		"no data":    {func(r *Recorder) { r.Dir = t.TempDir() }, "t10k-images"},
		"no folder":  {func(r *Recorder) { r.Out = filepath.Join(t.TempDir(), "no", "s.csv") }, "cannot write"},
		"train only": {func(r *Recorder) { r.Split = "train" }, "train-images"},
	} {
		r := good
		c.spoil(&r)
		if err := r.Run(Output{Stdout: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestParseScene(t *testing.T) {
	parts, err := parseScene(DefaultScene)
	if err != nil || len(parts) != 6 || parts[1].noise != [2]float64{0.25, 0.25} || parts[2].brightness != 0.5 || parts[3].shift != 2 || parts[5].noise != [2]float64{0, 0.35} || parts[5].rows != 10000 {
		t.Errorf("%+v, %v", parts, err)
	}
	for _, text := range []string{
		"", "clean", "clean:0", "clean:-1", "clean:x", "clean=1:5", "noise:5", "noise=x:5", "noise=-1:5", "noise=NaN:5", "brightness:5", "shift=1.5:5", "shift=-1:5",
		"ramp=1:5", "ramp=0..x:5", "dark:5", "clean:5,", "clean:99999999999", "clean:9000000,clean:9000000",
	} {
		if _, err := parseScene(text); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseScene(f *testing.F) {
	f.Add(DefaultScene)
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := parseScene(text)
		if err != nil {
			return
		}
		total := 0
		for _, p := range parts {
			total += p.rows
			if p.rows < 1 || !(p.noise[0] >= 0 && p.noise[1] >= 0 && p.brightness >= 0 && p.shift >= 0) {
				t.Fatalf("%q: %+v", text, p)
			}
		}
		if total > mostRows {
			t.Fatalf("%q: %d rows", text, total)
		}
	})
}

// TestDraw: an undisturbed view is the picture; a moved one is moved by whole
// pixels, a half one is between; light scales; pixels stay within 0 and 1.
func TestDraw(t *testing.T) {
	p := &pictures{count: 1, height: 4, width: 4, pixels: make([]byte, 16), labels: []byte{0}}
	p.pixels[5] = 255 // row 1, column 1
	dst := make([]float32, 16)
	for _, c := range []struct {
		v     view
		at    int
		value float32
	}{
		{view{brightness: 1}, 5, 1}, {view{brightness: 0.5}, 5, 0.5}, {view{brightness: 1, dx: 1}, 6, 1}, {view{brightness: 1, dy: 1}, 9, 1},
		{view{brightness: 1, dx: -1, dy: -1}, 0, 1}, {view{brightness: 1, dx: 0.5}, 5, 0.5}, {view{brightness: 1, dx: 0.5}, 6, 0.5}, {view{brightness: 3}, 5, 1},
	} {
		p.draw(dst, &c.v, 0, 1)
		if math.Abs(float64(dst[c.at]-c.value)) > 1e-6 {
			t.Errorf("%+v: %v", c.v, dst)
		}
	}
	noisy := view{brightness: 1, noise: 1, stays: 0.5, still: 3}
	p.draw(dst, &noisy, 0, 1)
	first := append([]float32{}, dst...)
	p.draw(dst, &noisy, 1, 1)
	same := 0
	for i, v := range dst {
		if !(v >= 0 && v <= 1) {
			t.Errorf("pixel %v", v)
		}
		if v == first[i] && v > 0 && v < 1 {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d pixels have the same noise in the next frame", same)
	}
}

// TestViews: a video moves by little from frame to frame and stays in bounds.
func TestViews(t *testing.T) {
	parts, err := parseScene("clean:3000")
	if err != nil {
		t.Fatal(err)
	}
	all := views(parts, 5, 25, 30, true, 1)
	most, shown := 0.0, map[int]bool{}
	for i, v := range all {
		shown[v.picture] = true
		if math.Abs(v.dx) > videoShift+1e-9 || math.Abs(v.dy) > videoShift+1e-9 || math.Abs(v.brightness-1) > videoDim+1e-9 || v.picture != all[i-i%30].picture {
			t.Fatalf("frame %d: %+v", i, v)
		}
		if i > 0 {
			most = max(most, math.Hypot(v.dx-all[i-1].dx, v.dy-all[i-1].dy))
		}
	}
	if most > 6*videoStep || most < videoStep || len(shown) != 20 {
		t.Errorf("it jumps by %v at most, over %d pictures", most, len(shown))
	}
	for i, v := range views(parts, 0, 20, 1, false, 1) {
		if v.picture != i%20 || v.dx != 0 || v.noise != 0 {
			t.Fatalf("row %d: %+v", i, v)
		}
	}
}

func FuzzReadIDX(f *testing.F) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte{0, 0, 8, 1, 0, 0, 0, 2, 7, 8})
	_ = z.Close()
	f.Add(b.Bytes(), 1)
	f.Fuzz(func(t *testing.T, data []byte, dimensions int) {
		if dimensions < 1 || dimensions > 3 {
			return
		}
		dims, values, err := readIDX(bytes.NewReader(data), dimensions)
		if err != nil {
			return
		}
		size := 1
		for _, d := range dims {
			size *= d
		}
		if len(dims) != dimensions || len(values) != size {
			t.Fatalf("%v with %d values", dims, len(values))
		}
	})
}

func TestReadIDX(t *testing.T) {
	dims, data, err := readIDX(bytes.NewReader(idx(t, []byte{1, 2, 3, 4, 5, 6}, 3, 2)), 2)
	if err != nil || len(dims) != 2 || dims[0] != 3 || len(data) != 6 {
		t.Errorf("%v, %v, %v", dims, data, err)
	}
	for _, b := range [][]byte{nil, idx(t, nil, 0, 2), idx(t, []byte{1}, 1, 2), idx(t, []byte{1, 2, 3}, 1, 2), idx(t, []byte{1, 2}, 2), idx(t, nil, 1, 1<<20)} {
		if _, _, err := readIDX(bytes.NewReader(b), 2); err == nil {
			t.Errorf("% x: no error", b)
		}
	}
}
