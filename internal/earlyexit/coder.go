package earlyexit

import (
	"encoding/binary"
	"fmt"
	"math"
)

// coder writes values, or reads them.
type coder struct {
	data []byte
	load bool
	err  error
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *coder) u64(v *uint64) {
	if !c.load {
		c.data = binary.LittleEndian.AppendUint64(c.data, *v)
		return
	}
	if len(c.data) < 8 {
		c.fail("foreign: it is too short")
		return
	}
	*v, c.data = binary.LittleEndian.Uint64(c.data), c.data[8:]
}

// must is a value that has to be the same.
func (c *coder) must(name string, v int) {
	got := uint64(v)
	if c.u64(&got); got != uint64(v) {
		c.fail("foreign: %s: %d, want %d", name, got, v)
	}
}

func (c *coder) integer(v *int) {
	u := uint64(int64(*v))
	c.u64(&u)
	*v = int(int64(u))
}

func (c *coder) u32(v *uint32) {
	u := uint64(*v)
	c.u64(&u)
	*v = uint32(u)
}

func (c *coder) i32(v *int32) {
	u := uint64(int64(*v))
	c.u64(&u)
	*v = int32(int64(u))
}

// farthest bounds every number: far beyond what a controller computes, and far
// from where products overflow.
const farthest = 1e30

func (c *coder) floats(vs ...*float64) {
	for _, v := range vs {
		u := math.Float64bits(*v)
		c.u64(&u)
		if *v = math.Float64frombits(u); !(math.Abs(*v) <= farthest) {
			c.fail("foreign: %v is not a number of a state", *v)
			*v = 0
		}
	}
}

func (c *coder) vector(vs []float64) {
	for i := range vs {
		c.floats(&vs[i])
	}
}

func (c *coder) singles(vs []float32) {
	for i := range vs {
		v := float64(vs[i])
		c.floats(&v)
		vs[i] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, v)))
	}
}
