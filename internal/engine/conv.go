package engine

import "gonum.org/v1/gonum/blas/gonum"

// blas does the products. Of gonum's single-precision kernels only the
// rank-one update (Sger) is used for convolutions: it is the fastest of them
// on short vectors, it never starts goroutines of its own, and it treats every
// element alike, so that an item's result does not depend on the batch it is in.
var blas gonum.Implementation

// accBytes bounds the block of outputs that a convolution accumulates at a
// time, so that it stays in the first-level cache.
const accBytes = 24 << 10

// convStep is Conv 3×3 with padding 1, and what is fused into it: an Add of
// another value and a Relu.
type convStep struct {
	in, out  int // slots
	residual int // slot, or −1
	relu     bool
	from, to extent
	stride   int       // 1 or 2
	weight   []float32 // [9][from.c][to.c]
	bias     []float32 // [to.c]
}

// newConvWeight turns ONNX's [out][in][3][3] into [tap][in][out].
func newConvWeight(w []float32, cin, cout int) []float32 {
	r := make([]float32, len(w))
	for o := range cout {
		for i := range cin {
			for t := range 9 {
				r[(t*cin+i)*cout+o] = w[(o*cin+i)*9+t]
			}
		}
	}
	return r
}

// block is how many positions of a channel are computed at a time: total is
// cut into equal parts, each a multiple of 8 (the kernel's width) that fits
// accBytes.
func (s *convStep) block(total int) int {
	most := max(8, min(512, accBytes/4/s.to.c)&^7)
	parts := (total + most - 1) / most
	return ((total+parts-1)/parts + 7) &^ 7
}

func (s *convStep) work() int64 { return 9 * int64(s.from.c) * int64(s.to.elements()) }

func (s *convStep) run(n int, x *scratch) {
	src, out := x.slots[s.in], x.slots[s.out]
	stride, row := n*s.to.plane(), s.to.rowStride()
	var base [9]int // where tap t reads for the position 0 of channel 0
	for t := range base {
		dy, dx := t/3-1, t%3-1
		if s.stride == 1 {
			base[t] = lead + dy*row + dx
			continue
		}
		// Input row 2y−1 is row y−1 of the odd rows, 2y is row y of the even
		// ones, 2y+1 row y of the odd ones; likewise for columns.
		phase := (dy&1)*2 + dx&1
		base[t] = lead + phase*s.from.c*stride + min(dy, 0)*row + min(dx, 0)
	}
	if s.stride == 2 {
		src = x.phases(4*s.from.c*stride + row + 2*lead)
		s.split(src, x.slots[s.in], n)
	}
	var residual []float32
	if s.residual >= 0 {
		residual = x.slots[s.residual]
	}
	total := n * s.to.plane()
	block := s.block(total - row)
	for q := row; q < total; q += block { // the first row is padding
		l := min(block, total-q)
		acc := x.accumulators(s.to.c * l)
		for c, b := range s.bias {
			a := acc[c*l : (c+1)*l]
			for i := range a {
				a[i] = b
			}
		}
		w := s.weight
		for _, b := range base {
			for c := range s.from.c {
				blas.Sger(s.to.c, l, 1, w[:s.to.c], 1, src[b+c*stride+q:][:l], 1, acc, l)
				w = w[s.to.c:]
			}
		}
		for c := range s.to.c {
			at := lead + c*stride + q
			a, dst := acc[c*l:(c+1)*l], out[at:at+l]
			if residual != nil {
				add(a, residual[at:at+l])
			}
			if s.relu {
				relu(dst, a)
			} else {
				copy(dst, a)
			}
		}
	}
	s.to.clearPads(out, n)
}

// split deals the input's pixels to four feature maps laid out like the
// output's: even and odd rows, even and odd columns.
func (s *convStep) split(dst, src []float32, n int) {
	phase := extent{s.from.c, s.to.h, s.to.w}
	for p := range 4 {
		part := dst[p*s.from.c*n*phase.plane():]
		for c := range s.from.c {
			for i := range n {
				for y := range phase.h {
					row := part[phase.row(n, c, i, y):][:phase.w]
					if 2*y+p/2 >= s.from.h {
						clear(row)
						continue
					}
					from := src[s.from.row(n, c, i, 2*y+p/2)+p%2:]
					for k := range row {
						row[k] = from[2*k] // past the right edge stands the zero column
					}
				}
			}
		}
	}
	all := extent{4 * s.from.c, s.to.h, s.to.w}
	all.clearPads(dst, n)
}

func add(dst, src []float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] += v
	}
}

// relu keeps NaN, as max does.
func relu(dst, src []float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = max(v, 0)
	}
}
