//go:build cgo && linux

package nvml

import (
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// addSlices adds a GPU's MIG slices to its answer. A slice has memory and
// processes of its own; what is the whole chip's (temperature, clocks, errors)
// it shares, and its sample says so too.
func addSlices(l *library, h nvml.Device, a *answer) {
	current, ret := ask(l, "nvmlDeviceGetMigMode", func() (int, nvml.Return) {
		current, _, ret := h.GetMigMode()
		return current, ret
	})
	if ret != nvml.SUCCESS || current != nvml.DEVICE_MIG_ENABLE || !l.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return
	}
	most, ret := ask(l, "nvmlDeviceGetMaxMigDeviceCount", h.GetMaxMigDeviceCount)
	if ret != nvml.SUCCESS {
		return
	}
	whole, chip := a.devices[0], a.samples[0]
	for i := range most {
		mig, ret := h.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // no slice of this number
		}
		id, ret := mig.GetUUID()
		if ret != nvml.SUCCESS {
			continue
		}
		d := whole
		d.ID, d.Kind, d.Parent, d.Index, d.Slice = id, device.MIG, whole.ID, i, &device.Slice{}
		if name, ret := ask(l, "nvmlDeviceGetName", mig.GetName); ret == nvml.SUCCESS && name != "" {
			d.Name = name
		}
		d.Slice.GPUInstance, _ = ask(l, "nvmlDeviceGetGpuInstanceId", mig.GetGpuInstanceId)
		d.Slice.ComputeInstance, _ = ask(l, "nvmlDeviceGetComputeInstanceId", mig.GetComputeInstanceId)
		if t, ret := ask(l, "nvmlDeviceGetAttributes", mig.GetAttributes); ret == nvml.SUCCESS {
			d.Slice.Multiprocessors = int(t.MultiprocessorCount)
		}
		s := chip
		s.Device, s.Utilisation, s.MemoryUsed, s.Processes = id, device.Number{}, device.Number{}, nil
		s.Missing = append([]string{"utilisation"}, chip.Missing...) // the driver has none for slices
		if m, ret := memory(l, mig); ret == nvml.SUCCESS {
			d.MemoryBytes, s.MemoryUsed = m.total, device.Of(float64(m.used))
		}
		if p, ret := ask(l, "nvmlDeviceGetComputeRunningProcesses", mig.GetComputeRunningProcesses); ret == nvml.SUCCESS {
			s.Processes = processes(p)
		}
		a.devices, a.samples = append(a.devices, d), append(a.samples, s)
	}
}
