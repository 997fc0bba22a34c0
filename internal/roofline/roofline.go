// Package roofline estimates how long hardware takes for a batch that it has never
// run: the longer of computing and of moving memory (Williams, Waterman, Patterson,
// CACM 52(4), 2009), by the cost of the model and by what the hardware's maker says
// of its rates. Where the model was measured on other hardware of the class, only
// the ratio of two such estimates counts: what both get wrong alike cancels. That
// rooflines want calibration by measurements is GenZ's idea (Bambhaniya et al., 2024).
//
// Such an estimate is a prior: it says how types compare until they are measured.
package roofline

// Cost is what a model costs.
type Cost struct {
	FLOPs     float64   // of an item; a multiply-add is two
	Bytes     float64   // moved for an item: inputs, activations, rows of tables; written and read are two
	Fixed     float64   // moved once for a batch: the parameters
	Precision Precision // "" = FP32
}

// Known reports whether there is anything to estimate from.
func (c Cost) Known() bool { return c.FLOPs > 0 || c.Bytes > 0 }

// Estimate is what a batch takes by itself on count devices, in ns; count is at
// least 1.
func (c Cost) Estimate(d *Device, count, items int) float64 {
	n, all := float64(items), float64(count)
	e := efficiency[d.Class]
	compute := n * c.FLOPs / (d.peak(c.Precision) * all * e.compute)
	memory := (c.Fixed + n*c.Bytes) / (d.Bandwidth * 1e9 * all * e.memory)
	return 1e9 * max(compute, memory)
}
