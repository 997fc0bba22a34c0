package config

import (
	"math"

	"motley/internal/roofline"
)

// Cost is what a model costs, for priors of hardware that was never measured; all
// zero = as the built-in engine counts, where it knows the model. See roofline.Cost.
type Cost struct {
	FLOPs     float64 `yaml:"flops_per_item"` // a multiply-add is two
	Bytes     float64 `yaml:"bytes_per_item"`
	Fixed     float64 `yaml:"bytes_fixed"` // for a batch: parameters
	Precision string  `yaml:"precision"`   // one of precisions
}

var precisions = []string{string(roofline.FP32), string(roofline.FP16), string(roofline.INT8)}

func (c *Cost) setDefaults() { c.Precision = string(roofline.FP32) }

// mostCost bounds what an item costs, in operations and bytes.
const mostCost = 1e18

func (c *Cost) check(f *faults, at string) {
	for _, v := range []struct {
		name  string
		value float64
	}{{"flops_per_item", c.FLOPs}, {"bytes_per_item", c.Bytes}, {"bytes_fixed", c.Fixed}} {
		if !(v.value >= 0 && v.value <= mostCost) { // the negation catches NaN
			f.add(at+"."+v.name, v.value, "must be from 0 to %g", float64(mostCost))
		}
	}
	oneOf(f, at+".precision", c.Precision, precisions)
}

// maxDevices bounds the GPUs or cores of an instance.
const maxDevices = math.MaxUint16

func (t *InstanceType) checkDevice(f *faults, at string) {
	if t.Device != "" && roofline.Find(t.Device) == nil {
		f.add(at+".device", t.Device, "must be hardware whose rates are known%s", nearest(t.Device, roofline.Names()))
	}
	within(f, at+".device_count", t.DeviceCount, 0, maxDevices)
}

// Hardware is what the instance type runs on, as far as it is known: its device,
// else its accelerator where that is the name of one; else nil.
func (t *InstanceType) Hardware() *roofline.Device {
	if t.Device != "" {
		return roofline.Find(t.Device)
	}
	return roofline.Find(t.Accelerator)
}

// Roofline is the cost as package roofline wants it.
func (c *Cost) Roofline() roofline.Cost {
	return roofline.Cost{FLOPs: c.FLOPs, Bytes: c.Bytes, Fixed: c.Fixed, Precision: roofline.Precision(c.Precision)}
}
