package engine

import (
	"encoding/binary"
	"math"
)

// extent is the size of one item of a four-dimensional value: channels, height
// and width.
type extent struct{ c, h, w int }

// A feature map of n items is laid out channel by channel, and within a
// channel item by item, each item a plane with one row of zeros above and one
// column of zeros to the right of its pixels:
//
//	0 0 0 0      rowStride = w+1, plane = (h+1)·(w+1)
//	a b c 0
//	d e f 0
//
// The zero to the left of a row is the one that ends the row before; the zeros
// below a plane are the first row of the next. So each of the nine taps of a
// 3×3 convolution is the whole channel, all items at once, shifted by a
// constant: no im2col, and vectors as long as the batch makes them. lead zeros
// stand before the first channel and rowStride+lead after the last.
const lead = 16

func (e extent) rowStride() int         { return e.w + 1 }
func (e extent) plane() int             { return (e.h + 1) * (e.w + 1) }
func (e extent) elements() int          { return e.c * e.h * e.w }
func (e extent) floats(n int) int       { return lead + e.c*n*e.plane() + e.rowStride() + lead }
func (e extent) row(n, c, i, y int) int { return lead + (c*n+i)*e.plane() + (y+1)*e.rowStride() }

// clearPads writes the zeros that the layout promises.
func (e extent) clearPads(f []float32, n int) {
	clear(f[:lead])
	stride := e.rowStride()
	for p := lead; p < lead+e.c*n*e.plane(); p += e.plane() {
		clear(f[p : p+stride])
		for q := p + 2*stride - 1; q < p+e.plane(); q += stride {
			f[q] = 0
		}
	}
	clear(f[lead+e.c*n*e.plane() : e.floats(n)])
}

// fill lays out n items of OIP's little-endian FP32 data.
func (e extent) fill(f []float32, n int, data []byte) {
	for i := range n {
		for c := range e.c {
			for y := range e.h {
				row := f[e.row(n, c, i, y):][:e.w]
				for x := range row {
					row[x] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*x:]))
				}
				data = data[4*e.w:]
			}
		}
	}
	e.clearPads(f, n)
}

// flatten copies n items to rows of channels·height·width values.
func (e extent) flatten(dst, f []float32, n int) {
	for i := range n {
		for c := range e.c {
			for y := range e.h {
				copy(dst, f[e.row(n, c, i, y):][:e.w])
				dst = dst[e.w:]
			}
		}
	}
}

// keep moves the given items (ascending positions among n) to the front, as a
// feature map of len(items) items.
func (e extent) keep(f []float32, n int, items []int) {
	at := lead
	for c := range e.c {
		for _, i := range items { // the target never lies behind the source
			copy(f[at:at+e.plane()], f[lead+(c*n+i)*e.plane():])
			at += e.plane()
		}
	}
	clear(f[at:e.floats(len(items))])
}
