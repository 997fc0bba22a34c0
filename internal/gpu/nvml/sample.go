//go:build cgo && linux

package nvml

import (
	"encoding/binary"
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"motley/internal/gpu/device"
)

// sampling is a sample in the making. A return that is about the GPU as a
// whole ends it: nothing more is asked.
type sampling struct {
	lib  *library
	out  device.Sample
	ends nvml.Return
}

// sample asks a GPU how it does. The return is SUCCESS unless the whole GPU
// does not answer.
func sample(l *library, h nvml.Device, id string) (device.Sample, nvml.Return) {
	s := sampling{lib: l, out: device.Sample{Device: id, Access: device.Reachable}, ends: nvml.SUCCESS}
	o := &s.out
	read(&s, "temperature", "nvmlDeviceGetTemperature", func() (uint32, nvml.Return) { return h.GetTemperature(nvml.TEMPERATURE_GPU) },
		func(v uint32) { o.TemperatureC = device.Of(float64(v)) })
	read(&s, "utilisation", "nvmlDeviceGetUtilizationRates", h.GetUtilizationRates,
		func(v nvml.Utilization) { o.Utilisation = device.Of(float64(v.Gpu) / 100) })
	read(&s, "memory_used", "nvmlDeviceGetMemoryInfo", func() (bytes, nvml.Return) { return memory(l, h) },
		func(v bytes) { o.MemoryUsed = device.Of(float64(v.used)) })
	read(&s, "power", "nvmlDeviceGetPowerUsage", h.GetPowerUsage,
		func(v uint32) { o.PowerW = device.Of(float64(v) / 1000) })
	read(&s, "power_limit", "nvmlDeviceGetEnforcedPowerLimit", h.GetEnforcedPowerLimit,
		func(v uint32) { o.PowerLimitW = device.Of(float64(v) / 1000) })
	clock := func(name string, which nvml.ClockType, into *device.Number) {
		read(&s, name, "nvmlDeviceGetClockInfo", func() (uint32, nvml.Return) { return h.GetClockInfo(which) },
			func(v uint32) { *into = device.Of(float64(v)) })
	}
	clock("sm_clock", nvml.CLOCK_SM, &o.SMClockMHz)
	clock("memory_clock", nvml.CLOCK_MEM, &o.MemoryClockMHz)
	throttle, function := h.GetCurrentClocksEventReasons, "nvmlDeviceGetCurrentClocksEventReasons"
	if !l.has(function) { // its name before R535
		throttle, function = h.GetCurrentClocksThrottleReasons, "nvmlDeviceGetCurrentClocksThrottleReasons"
	}
	read(&s, "throttle", function, throttle, func(v uint64) { o.Throttle = device.Throttle(v) })
	memoryErrors(&s, h)
	read(&s, "pcie_replay", "nvmlDeviceGetPcieReplayCounter", h.GetPcieReplayCounter,
		func(v int) { o.PCIeReplay = device.Of(float64(v)) })
	read(&s, "processes", "nvmlDeviceGetComputeRunningProcesses", h.GetComputeRunningProcesses,
		func(v []nvml.ProcessInfo) { o.Processes = processes(v) })
	read(&s, "recovery", "nvmlDeviceGetFieldValues", func() (device.Recovery, nvml.Return) { return recovery(h) },
		func(v device.Recovery) { o.Recovery = v })
	return s.out, s.ends
}

// read asks for one reading and notes it as missing when there is none.
func read[T any](s *sampling, name, function string, f func() (T, nvml.Return), put func(T)) {
	if s.ends != nvml.SUCCESS {
		return
	}
	switch v, ret := ask(s.lib, function, f); ret {
	case nvml.SUCCESS:
		put(v)
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_RESET_REQUIRED:
		s.ends = ret
	default:
		s.out.Missing = append(s.out.Missing, name)
	}
}

// memoryErrors asks for ECC errors, remapped rows and retired pages.
func memoryErrors(s *sampling, h nvml.Device) {
	o := &s.out
	count := func(name string, kind nvml.MemoryErrorType, span nvml.EccCounterType, into *device.Number) {
		read(s, name, "nvmlDeviceGetTotalEccErrors", func() (uint64, nvml.Return) { return h.GetTotalEccErrors(kind, span) },
			func(v uint64) { *into = device.Of(float64(v)) })
	}
	count("ecc_volatile_corrected", nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC, &o.ECC.VolatileCorrected)
	count("ecc_volatile_uncorrected", nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC, &o.ECC.VolatileUncorrected)
	count("ecc_aggregate_corrected", nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.AGGREGATE_ECC, &o.ECC.AggregateCorrected)
	count("ecc_aggregate_uncorrected", nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC, &o.ECC.AggregateUncorrected)
	read(s, "rows", "nvmlDeviceGetRemappedRows", func() (device.Rows, nvml.Return) {
		corrected, uncorrected, pending, failed, ret := h.GetRemappedRows()
		return device.Rows{
			Correctable: device.Of(float64(corrected)), Uncorrectable: device.Of(float64(uncorrected)), Pending: pending, Failed: failed,
		}, ret
	}, func(v device.Rows) { o.Rows = v })
	retired := func(name string, cause nvml.PageRetirementCause, into *device.Number) {
		read(s, name, "nvmlDeviceGetRetiredPages", func() ([]uint64, nvml.Return) { return h.GetRetiredPages(cause) },
			func(v []uint64) { *into = device.Of(float64(len(v))) })
	}
	retired("pages_single_bit", nvml.PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS, &o.Pages.SingleBit)
	retired("pages_double_bit", nvml.PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR, &o.Pages.DoubleBit)
	read(s, "pages_pending", "nvmlDeviceGetRetiredPagesPendingStatus", h.GetRetiredPagesPendingStatus,
		func(v nvml.EnableState) { o.Pages.Pending = v == nvml.FEATURE_ENABLED })
}

func processes(infos []nvml.ProcessInfo) []device.Process {
	var out []device.Process
	for _, p := range infos {
		used := p.UsedGpuMemory
		if used == math.MaxUint64 { // not known, as in some containers
			used = 0
		}
		out = append(out, device.Process{PID: int(p.Pid), MemoryBytes: used})
	}
	return out
}

// recovery asks what the driver says the GPU needs (R565 and newer).
func recovery(h nvml.Device) (device.Recovery, nvml.Return) {
	v := []nvml.FieldValue{{FieldId: nvml.FI_DEV_GET_GPU_RECOVERY_ACTION}}
	if ret := h.GetFieldValues(v); ret != nvml.SUCCESS {
		return "", ret
	}
	if ret := nvml.Return(v[0].NvmlReturn); ret != nvml.SUCCESS {
		return "", ret
	}
	switch nvml.DeviceGpuRecoveryAction(binary.NativeEndian.Uint32(v[0].Value[:])) {
	case nvml.GPU_RECOVERY_ACTION_NONE:
		return device.RecoverNone, nvml.SUCCESS
	case nvml.GPU_RECOVERY_ACTION_GPU_RESET:
		return device.RecoverReset, nvml.SUCCESS
	case nvml.GPU_RECOVERY_ACTION_NODE_REBOOT:
		return device.RecoverReboot, nvml.SUCCESS
	case nvml.GPU_RECOVERY_ACTION_DRAIN_P2P:
		return device.RecoverDrain, nvml.SUCCESS
	case nvml.GPU_RECOVERY_ACTION_DRAIN_AND_RESET:
		return device.RecoverDrainAll, nvml.SUCCESS
	}
	return device.RecoverOther, nvml.SUCCESS
}
