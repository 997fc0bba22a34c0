package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/oip"
)

// image4 is a plain [n,c,h,w] array: what the slow references work on.
type image4 struct {
	n, c, h, w int
	f          []float32
}

func newImage4(n, c, h, w int) image4 { return image4{n, c, h, w, make([]float32, n*c*h*w)} }

func (m image4) at(n, c, y, x int) *float32 { return &m.f[((n*m.c+c)*m.h+y)*m.w+x] }

// random fills with values in −1..1 that depend on seed alone.
func random(seed uint32, n int) []float32 {
	f := make([]float32, n)
	for i := range f {
		seed = seed*1664525 + 1013904223
		f[i] = float32(seed>>8)/(1<<23) - 1
	}
	return f
}

func slowConv(in image4, w, b []float32, cout, stride int) image4 {
	out := newImage4(in.n, cout, (in.h-1)/stride+1, (in.w-1)/stride+1)
	for n := range out.n {
		for o := range cout {
			for y := range out.h {
				for x := range out.w {
					sum := 0.0
					if b != nil {
						sum = float64(b[o])
					}
					for c := range in.c {
						for t := range 9 {
							iy, ix := y*stride+t/3-1, x*stride+t%3-1
							if iy >= 0 && iy < in.h && ix >= 0 && ix < in.w {
								sum += float64(*in.at(n, c, iy, ix)) * float64(w[(o*in.c+c)*9+t])
							}
						}
					}
					*out.at(n, o, y, x) = float32(sum)
				}
			}
		}
	}
	return out
}

func slowPool(in image4, ky, kx, sy, sx int) image4 {
	out := newImage4(in.n, in.c, (in.h-ky)/sy+1, (in.w-kx)/sx+1)
	for n := range out.n {
		for c := range out.c {
			for y := range out.h {
				for x := range out.w {
					sum := 0.0
					for k := range ky * kx {
						sum += float64(*in.at(n, c, y*sy+k/kx, x*sx+k%kx))
					}
					*out.at(n, c, y, x) = float32(sum / float64(ky*kx))
				}
			}
		}
	}
	return out
}

func mapped(in image4, f func(i int, v float32) float32) image4 {
	out := newImage4(in.n, in.c, in.h, in.w)
	for i, v := range in.f {
		out.f[i] = f(i, v)
	}
	return out
}

func positive(_ int, v float32) float32 {
	if v < 0 {
		return 0
	}
	return v
}

// operatorCase is a small graph with the input "x" and the output "y", and
// what it computes, done slowly.
type operatorCase struct {
	name  string
	model []byte
	in    image4
	want  []float32 // labels too, as floats
}

func operatorCases() []operatorCase {
	var cases []operatorCase
	add := func(name string, in image4, want []float32, elem int64, shape []int64, build func(*graphBuilder)) {
		g := &graphBuilder{}
		g.input("x", -1, int64(in.c), int64(in.h), int64(in.w))
		g.output("y", elem, append([]int64{-1}, shape...)...)
		build(g)
		cases = append(cases, operatorCase{name, g.bytes(), in, want})
	}
	dims := func(m image4) []int64 { return []int64{int64(m.c), int64(m.h), int64(m.w)} }
	for i, s := range []struct{ n, cin, cout, h, w, stride int }{
		{1, 1, 1, 1, 1, 1}, {1, 1, 16, 28, 28, 1}, {3, 5, 7, 6, 9, 1}, {2, 24, 40, 14, 14, 2}, {3, 3, 5, 7, 10, 2}, {2, 2, 3, 5, 1, 2}, {17, 3, 6, 9, 5, 1},
	} {
		in := newImage4(s.n, s.cin, s.h, s.w)
		in.f = random(uint32(i), len(in.f))
		w, b := random(100, s.cout*s.cin*9), random(200, s.cout)
		out := slowConv(in, w, b, s.cout, s.stride)
		conv := func(g *graphBuilder, output string, inputs ...string) {
			g.weight("w", w, int64(s.cout), int64(s.cin), 3, 3)
			g.weight("b", b, int64(s.cout))
			g.node("Conv", inputs, output, intsAttr("kernel_shape", 3, 3), intsAttr("pads", 1, 1, 1, 1), intsAttr("strides", int64(s.stride), int64(s.stride)))
		}
		add(fmt.Sprintf("Conv %v", s), in, out.f, elemFloat, dims(out), func(g *graphBuilder) { conv(g, "y", "x", "w", "b") })
		add(fmt.Sprintf("Conv without bias %v", s), in, slowConv(in, w, nil, s.cout, s.stride).f, elemFloat, dims(out), func(g *graphBuilder) { conv(g, "y", "x", "w") })
		add(fmt.Sprintf("Conv and Relu %v", s), in, mapped(out, positive).f, elemFloat, dims(out), func(g *graphBuilder) {
			conv(g, "c", "x", "w", "b")
			g.node("Relu", []string{"c"}, "y")
		})
		if s.cin != s.cout || s.stride != 1 {
			continue
		}
		sum := mapped(out, func(i int, v float32) float32 { return v + in.f[i] })
		add(fmt.Sprintf("Conv and Add %v", s), in, sum.f, elemFloat, dims(out), func(g *graphBuilder) {
			conv(g, "c", "x", "w", "b")
			g.node("Add", []string{"x", "c"}, "y")
		})
	}
	in := newImage4(3, 4, 6, 7)
	in.f = random(7, len(in.f))
	w := random(9, 4*4*9)
	residual := slowConv(in, w, nil, 4, 1)
	add("residual block", in, mapped(mapped(residual, func(i int, v float32) float32 { return v + in.f[i] }), positive).f, elemFloat, dims(in), func(g *graphBuilder) {
		g.weight("w", w, 4, 4, 3, 3)
		g.node("Conv", []string{"x", "w"}, "c", intsAttr("pads", 1, 1, 1, 1))
		g.node("Add", []string{"c", "x"}, "s")
		g.node("Relu", []string{"s"}, "y")
	})
	add("Conv read twice", in, mapped(residual, func(i int, v float32) float32 { return v + positive(0, v) }).f, elemFloat, dims(in), func(g *graphBuilder) {
		g.weight("w", w, 4, 4, 3, 3)
		g.node("Conv", []string{"x", "w"}, "c", intsAttr("pads", 1, 1, 1, 1))
		g.node("Relu", []string{"c"}, "r")
		g.node("Add", []string{"c", "r"}, "y")
	})
	add("Relu", in, mapped(in, positive).f, elemFloat, dims(in), func(g *graphBuilder) { g.node("Relu", []string{"x"}, "y") })
	add("Add", in, mapped(in, func(_ int, v float32) float32 { return v + v }).f, elemFloat, dims(in), func(g *graphBuilder) { g.node("Add", []string{"x", "x"}, "y") })
	for _, k := range [][4]int{{1, 1, 1, 1}, {2, 3, 1, 2}, {6, 7, 1, 1}, {3, 3, 2, 4}} {
		out := slowPool(in, k[0], k[1], k[2], k[3])
		add(fmt.Sprintf("AveragePool %v", k), in, out.f, elemFloat, dims(out), func(g *graphBuilder) {
			g.node("AveragePool", []string{"x"}, "y", intsAttr("kernel_shape", int64(k[0]), int64(k[1])), intsAttr("strides", int64(k[2]), int64(k[3])))
		})
		add(fmt.Sprintf("AveragePool %v with its Flatten", k), in, out.f, elemFloat, []int64{int64(len(out.f) / in.n)}, func(g *graphBuilder) {
			g.node("AveragePool", []string{"x"}, "p", intsAttr("kernel_shape", int64(k[0]), int64(k[1])), intsAttr("strides", int64(k[2]), int64(k[3])))
			g.node("Flatten", []string{"p"}, "y")
		})
	}
	columns := 4 * 6 * 7
	add("Flatten", in, in.f, elemFloat, []int64{int64(columns)}, func(g *graphBuilder) { g.node("Flatten", []string{"x"}, "y") })
	for _, m := range []int{1, 10, 300} {
		for _, transposed := range []bool{false, true} {
			w, b := random(11, columns*m), random(12, m)
			logits := make([]float32, in.n*m)
			probs := make([]float32, in.n*m)
			labels := make([]float32, in.n)
			for i := range in.n {
				total := 0.0
				for j := range m {
					sum := float64(b[j])
					for k := range columns {
						at := k*m + j
						if transposed {
							at = j*columns + k
						}
						sum += float64(in.f[i*columns+k]) * float64(w[at])
					}
					logits[i*m+j] = float32(sum)
					total += math.Exp(sum)
					if logits[i*m+j] > logits[i*m+int(labels[i])] {
						labels[i] = float32(j)
					}
				}
				for j := range m {
					probs[i*m+j] = float32(math.Exp(float64(logits[i*m+j])) / total)
				}
			}
			gemm := func(g *graphBuilder, out string) {
				g.node("Flatten", []string{"x"}, "f", intAttr("axis", 1))
				g.weight("b", b, int64(m))
				if transposed {
					g.weight("w", w, int64(m), int64(columns))
					g.node("Gemm", []string{"f", "w", "b"}, out, intAttr("transB", 1))
				} else {
					g.weight("w", w, int64(columns), int64(m))
					g.node("Gemm", []string{"f", "w", "b"}, out)
				}
			}
			add(fmt.Sprintf("Gemm %d transB %v", m, transposed), in, logits, elemFloat, []int64{int64(m)}, func(g *graphBuilder) { gemm(g, "y") })
			add(fmt.Sprintf("Softmax %d %v", m, transposed), in, probs, elemFloat, []int64{int64(m)}, func(g *graphBuilder) {
				gemm(g, "l")
				g.node("Softmax", []string{"l"}, "y", intAttr("axis", 1))
			})
			add(fmt.Sprintf("ArgMax %d %v", m, transposed), in, labels, elemInt64, []int64{1}, func(g *graphBuilder) {
				gemm(g, "l")
				g.node("ArgMax", []string{"l"}, "y", intAttr("axis", 1))
			})
		}
	}
	return cases
}

// runCase gives the output as floats.
func runCase(t *testing.T, c operatorCase) []float32 {
	t.Helper()
	m, err := LoadONNX(c.model)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	out, err := m.Run(context.Background(), []oip.Tensor{{Name: "x", Datatype: oip.FP32,
		Shape: []int64{int64(c.in.n), int64(c.in.c), int64(c.in.h), int64(c.in.w)}, Data: appendFloats(nil, c.in.f)}}, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if out[0].Datatype == oip.FP32 {
		return floatsOf(out[0].Data)
	}
	var f []float32
	for _, l := range labelsOf(out[0].Data) {
		f = append(f, float32(l))
	}
	return f
}

func compare(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-4*(1+math.Abs(float64(want[i])))) {
			t.Errorf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

func TestOperatorsAgainstSlowOnes(t *testing.T) {
	for _, c := range operatorCases() {
		compare(t, c.name, runCase(t, c), c.want)
	}
}

// runORT runs every model of a folder on its input and prints each output.
const runORT = `
import json, sys
import numpy as np, onnxruntime as ort
ort.set_default_logger_severity(3)
for case in json.load(open(sys.argv[1])):
    s = ort.InferenceSession(case["model"], providers=["CPUExecutionProvider"])
    x = np.fromfile(case["input"], "<f4").reshape(case["shape"])
    out = s.run(None, {s.get_inputs()[0].name: x})
    print(json.dumps([o.astype(float).ravel().tolist() for o in out]))
`

// python finds a Python that has onnxruntime.
func python(t *testing.T) string {
	for _, p := range []string{os.Getenv("MOTLEY_PYTHON"), filepath.Join("..", "..", ".venv", "bin", "python"), "python3"} {
		if p != "" && exec.Command(p, "-c", "import onnxruntime, numpy").Run() == nil {
			return p
		}
	}
	t.Skip("SKIPPED: no Python with onnxruntime and numpy (set MOTLEY_PYTHON)")
	return ""
}

// TestAgainstORT holds every operator, and the whole of fashion with its
// ramps, to ONNX Runtime.
func TestAgainstORT(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	cases := operatorCases()
	pixels := noise(9)
	images, _ := example(t, "batch.json")
	pixels = append(pixels, images...)
	cases = append(cases, operatorCase{name: "fashion", model: fashion, in: image4{len(pixels) / 784, 1, 28, 28, pixels}})
	type job struct {
		Model string `json:"model"`
		Input string `json:"input"`
		Shape []int  `json:"shape"`
	}
	var jobs []job
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i, c := range cases {
		jobs = append(jobs, job{write(fmt.Sprint(i, ".onnx"), c.model), write(fmt.Sprint(i, ".f32"), appendFloats(nil, c.in.f)), []int{c.in.n, c.in.c, c.in.h, c.in.w}})
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(py, "-c", runORT, write("cases.json", list)).Output()
	if err != nil {
		t.Fatalf("cannot run ONNX Runtime: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("ONNX Runtime answered %d of %d cases", len(lines), len(cases))
	}
	for i, c := range cases {
		var want [][]float32
		if err := json.Unmarshal([]byte(lines[i]), &want); err != nil {
			t.Fatal(err)
		}
		if c.name != "fashion" {
			compare(t, c.name, runCase(t, c), want[0])
			continue
		}
		byExit := exits(t, loadFashion(t), pixels, nil)
		for k, rows := range byExit {
			expect := want[0] // probabilities, label, ramp0, ramp1, …
			if k < len(byExit)-1 {
				expect = want[2+k]
			}
			for r, p := range rows {
				compare(t, fmt.Sprintf("fashion, exit %d, row %d", k, r), p, expect[r*10:][:10])
			}
		}
	}
}
