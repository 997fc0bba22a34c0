//go:build cgo && linux

package nvml

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// answer is what a GPU says: itself first, then its slices; a sample for each
// device, in the same order.
type answer struct {
	devices []device.Device
	samples []device.Sample
	ret     nvml.Return // of the GPU as a whole
}

// look asks a GPU. Of known, what was found out earlier, it asks only what may
// have changed.
func look(l *library, h nvml.Device, known []device.Device) answer {
	d := known[0]
	if d.Name == "" {
		d = describe(l, h, d)
	}
	s, ret := sample(l, h, d.ID)
	if ret != nvml.SUCCESS {
		return answer{ret: ret}
	}
	a := answer{devices: []device.Device{d}, samples: []device.Sample{s}, ret: nvml.SUCCESS}
	addSlices(l, h, &a)
	return a
}

// describe asks what does not change.
func describe(l *library, h nvml.Device, d device.Device) device.Device {
	d.Name, _ = ask(l, "nvmlDeviceGetName", h.GetName)
	d.Driver, _ = ask(l, "nvmlSystemGetDriverVersion", l.SystemGetDriverVersion)
	cuda, _ := ask(l, "nvmlSystemGetCudaDriverVersion", l.SystemGetCudaDriverVersion)
	d.CUDA = version(cuda)
	if m, ret := memory(l, h); ret == nvml.SUCCESS {
		d.MemoryBytes = m.total
	}
	type pair struct{ major, minor int }
	if c, ret := ask(l, "nvmlDeviceGetCudaComputeCapability", func() (pair, nvml.Return) {
		major, minor, ret := h.GetCudaComputeCapability()
		return pair{major, minor}, ret
	}); ret == nvml.SUCCESS {
		d.ComputeCapability = fmt.Sprintf("%d.%d", c.major, c.minor)
	}
	if p, ret := ask(l, "nvmlDeviceGetPciInfo", h.GetPciInfo); ret == nvml.SUCCESS {
		d.PCI = text(p.BusId[:])
		if d.PCI == "" {
			d.PCI = text(p.BusIdLegacy[:])
		}
	}
	d.PCIeGeneration, _ = ask(l, "nvmlDeviceGetMaxPcieLinkGeneration", h.GetMaxPcieLinkGeneration)
	d.PCIeWidth, _ = ask(l, "nvmlDeviceGetMaxPcieLinkWidth", h.GetMaxPcieLinkWidth)
	number := func(function string, f func() (uint32, nvml.Return)) device.Number {
		v, ret := ask(l, function, f)
		if ret != nvml.SUCCESS {
			return device.Number{}
		}
		return device.Of(float64(v))
	}
	d.SMClockMaxMHz = number("nvmlDeviceGetMaxClockInfo", func() (uint32, nvml.Return) { return h.GetMaxClockInfo(nvml.CLOCK_SM) })
	d.MemoryClockMaxMHz = number("nvmlDeviceGetMaxClockInfo", func() (uint32, nvml.Return) { return h.GetMaxClockInfo(nvml.CLOCK_MEM) })
	d.SlowdownC = number("nvmlDeviceGetTemperatureThreshold", func() (uint32, nvml.Return) {
		return h.GetTemperatureThreshold(nvml.TEMPERATURE_THRESHOLD_SLOWDOWN)
	})
	return d
}

// text reads a C string.
func text[C int8 | uint8](chars []C) string {
	var out []byte
	for _, c := range chars {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

type bytes struct{ total, used uint64 }

// memory asks for what is used beside what the driver keeps for itself, as
// nvidia-smi does, or with an old driver for both together.
func memory(l *library, h nvml.Device) (bytes, nvml.Return) {
	if l.has("nvmlDeviceGetMemoryInfo_v2") {
		if m, ret := h.GetMemoryInfo_v2(); ret == nvml.SUCCESS {
			return bytes{m.Total, m.Used}, ret
		}
	}
	m, ret := ask(l, "nvmlDeviceGetMemoryInfo", h.GetMemoryInfo)
	return bytes{m.Total, m.Used}, ret
}
