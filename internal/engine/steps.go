package engine

import (
	"math"

	gonumblas "gonum.org/v1/gonum/blas"
)

// A step computes one value for n items.
type step interface {
	run(n int, x *scratch)
	// work is the multiply-adds that an item takes, padding left out; 0 for steps
	// that multiply nothing.
	work() int64
}

func (s *addStep) work() int64     { return 0 }
func (s *reluStep) work() int64    { return 0 }
func (s *flattenStep) work() int64 { return 0 }
func (s *softmaxStep) work() int64 { return 0 }
func (s *argmaxStep) work() int64  { return 0 }
func (s *gemmStep) work() int64    { return int64(s.k) * int64(s.m) }

// An addition of the pool counts as one, by a weight of 1.
func (s *poolStep) work() int64 {
	return int64(s.to.elements()) * int64(s.kernelY) * int64(s.kernelX)
}

// addStep and reluStep are the forms of Add and Relu that no convolution took
// in. They run over the padding as well, where 0+0 and max(0,0) keep it zero.
type addStep struct {
	a, b, out int
	e         extent
}

func (s *addStep) run(n int, x *scratch) {
	size := s.e.floats(n)
	dst := x.slots[s.out][:size]
	copy(dst, x.slots[s.a][:size])
	add(dst, x.slots[s.b][:size])
}

type reluStep struct {
	in, out int
	e       extent
}

func (s *reluStep) run(n int, x *scratch) {
	size := s.e.floats(n)
	relu(x.slots[s.out][:size], x.slots[s.in][:size])
}

// poolStep is AveragePool without padding, and the Flatten that is fused into
// it where flat is set: its output is rows then.
type poolStep struct {
	in, out          int
	from, to         extent
	kernelY, kernelX int
	strideY, strideX int
	flat             bool
}

func (s *poolStep) run(n int, x *scratch) {
	src, dst := x.slots[s.in], x.slots[s.out]
	scale := 1 / float32(s.kernelY*s.kernelX)
	sums := x.accumulators(s.from.w)
	for c := range s.from.c {
		for i := range n {
			for oy := range s.to.h {
				s.columns(sums, src[s.from.row(n, c, i, oy*s.strideY):])
				at := (i*s.to.c+c)*s.to.h*s.to.w + oy*s.to.w
				if !s.flat {
					at = s.to.row(n, c, i, oy)
				}
				out := dst[at:][:s.to.w]
				for ox := range out {
					var sum float32
					for _, v := range sums[ox*s.strideX:][:s.kernelX] {
						sum += v
					}
					out[ox] = sum * scale
				}
			}
		}
	}
	if !s.flat {
		s.to.clearPads(dst, n)
	}
}

// columns adds up the kernel's rows, column by column, so that what windows side
// by side share is added once. Three rows at a time save stores.
func (s *poolStep) columns(sums, rows []float32) {
	n, stride, y := len(sums), s.from.rowStride(), 0
	clear(sums)
	for ; y+3 <= s.kernelY; y += 3 {
		a, b, c := rows[y*stride:][:n], rows[(y+1)*stride:][:n], rows[(y+2)*stride:][:n]
		for i := range sums {
			sums[i] += a[i] + b[i] + c[i]
		}
	}
	for ; y < s.kernelY; y++ {
		add(sums, rows[y*stride:])
	}
}

// flattenStep is Flatten with axis 1: a feature map becomes rows.
type flattenStep struct {
	in, out int
	e       extent
}

func (s *flattenStep) run(n int, x *scratch) { s.e.flatten(x.slots[s.out], x.slots[s.in], n) }

// gemmStep is Gemm with the weights as its second factor.
type gemmStep struct {
	in, out int
	k, m    int       // columns of the input and of the output
	weight  []float32 // [k][m]; [m][k] where few
	bias    []float32 // [m]
	few     bool      // m is at most fewColumns
}

// fewColumns is up to how many columns of the output a dot product each is
// faster than Sgemm, whose vectors are a row of the output.
const fewColumns = 16

// Sgemm starts goroutines when the product has four blocks of 64×64 or more.
// Parts of at most 64 rows and 128 columns have two.
const gemmRows, gemmColumns = 64, 128

func (s *gemmStep) run(n int, x *scratch) {
	src, dst := x.slots[s.in], x.slots[s.out]
	if s.few {
		for i := range n {
			row := src[i*s.k:][:s.k]
			for j, b := range s.bias {
				dst[i*s.m+j] = b + blas.Sdot(s.k, row, 1, s.weight[j*s.k:][:s.k], 1)
			}
		}
		return
	}
	for i := range n {
		copy(dst[i*s.m:], s.bias)
	}
	for i := 0; i < n; i += gemmRows {
		for j := 0; j < s.m; j += gemmColumns {
			blas.Sgemm(gonumblas.NoTrans, gonumblas.NoTrans, min(gemmRows, n-i), min(gemmColumns, s.m-j), s.k,
				1, src[i*s.k:], s.k, s.weight[j:], s.m, 1, dst[i*s.m+j:], s.m)
		}
	}
}

// softmaxStep is Softmax over the columns of rows.
type softmaxStep struct {
	in, out, columns int
}

func (s *softmaxStep) run(n int, x *scratch) {
	for i := range n {
		softmax(x.slots[s.out][i*s.columns:][:s.columns], x.slots[s.in][i*s.columns:][:s.columns])
	}
}

// softmax gives NaN throughout where a logit is NaN or +Inf.
func softmax(dst, logits []float32) {
	top := logits[0]
	for _, v := range logits {
		top = max(top, v)
	}
	var sum float64
	for i, v := range logits {
		e := math.Exp(float64(v) - float64(top))
		dst[i] = float32(e)
		sum += e
	}
	for i := range dst {
		dst[i] = float32(float64(dst[i]) / sum)
	}
}

// argmaxStep is ArgMax over the columns of rows, dimension kept.
type argmaxStep struct {
	in, columns int
}

func (s *argmaxStep) run(n int, x *scratch) {
	for i := range n {
		x.ints[i] = argmax(x.slots[s.in][i*s.columns:][:s.columns])
	}
}

// argmax is the first position of the largest value; NaN is never the largest,
// and a row of nothing else gives 0.
func argmax(row []float32) int64 {
	best := 0
	for i, v := range row {
		if v > row[best] || row[best] != row[best] && v == v {
			best = i
		}
	}
	return int64(best)
}
