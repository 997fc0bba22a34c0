package remote

import "motley/internal/gpu/device"

// target is where a metric's value goes.
type target struct {
	d    *device.Device
	s    *device.Sample
	free *device.Number // bytes: what an exporter says instead of the whole
}

// field is what becomes of one metric.
type field struct{ put func(t *target, v float64) }

func number(at func(*target) *device.Number, scale float64) field {
	return field{func(t *target, v float64) { *at(t) = device.Of(v * scale) }}
}

// Memory is in MiB in DCGM's metrics, utilisation in per cent.
const mib = 1 << 20

// fields are the metrics that are read: DCGM's fields as its exporter names
// them (https://docs.nvidia.com/datacenter/dcgm/latest/dcgm-api/dcgm-api-field-ids.html),
// and Triton's (its docs/user_guide/metrics.md).
var fields = map[string]field{
	"DCGM_FI_DEV_GPU_UTIL":                    number(func(t *target) *device.Number { return &t.s.Utilisation }, 0.01),
	"DCGM_FI_DEV_FB_USED":                     number(func(t *target) *device.Number { return &t.s.MemoryUsed }, mib),
	"DCGM_FI_DEV_FB_FREE":                     number(func(t *target) *device.Number { return t.free }, mib),
	"DCGM_FI_DEV_FB_TOTAL":                    {func(t *target, v float64) { t.d.MemoryBytes = whole(v * mib) }},
	"DCGM_FI_DEV_GPU_TEMP":                    number(func(t *target) *device.Number { return &t.s.TemperatureC }, 1),
	"DCGM_FI_DEV_SLOWDOWN_TEMP":               number(func(t *target) *device.Number { return &t.d.SlowdownC }, 1),
	"DCGM_FI_DEV_POWER_USAGE":                 number(func(t *target) *device.Number { return &t.s.PowerW }, 1),
	"DCGM_FI_DEV_POWER_MGMT_LIMIT":            number(func(t *target) *device.Number { return &t.s.PowerLimitW }, 1),
	"DCGM_FI_DEV_ENFORCED_POWER_LIMIT":        number(func(t *target) *device.Number { return &t.s.PowerLimitW }, 1),
	"DCGM_FI_DEV_SM_CLOCK":                    number(func(t *target) *device.Number { return &t.s.SMClockMHz }, 1),
	"DCGM_FI_DEV_MEM_CLOCK":                   number(func(t *target) *device.Number { return &t.s.MemoryClockMHz }, 1),
	"DCGM_FI_DEV_MAX_SM_CLOCK":                number(func(t *target) *device.Number { return &t.d.SMClockMaxMHz }, 1),
	"DCGM_FI_DEV_MAX_MEM_CLOCK":               number(func(t *target) *device.Number { return &t.d.MemoryClockMaxMHz }, 1),
	"DCGM_FI_DEV_CLOCK_THROTTLE_REASONS":      {throttle},
	"DCGM_FI_DEV_CLOCKS_EVENT_REASONS":        {throttle},
	"DCGM_FI_DEV_ECC_SBE_VOL_TOTAL":           number(func(t *target) *device.Number { return &t.s.ECC.VolatileCorrected }, 1),
	"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL":           number(func(t *target) *device.Number { return &t.s.ECC.VolatileUncorrected }, 1),
	"DCGM_FI_DEV_ECC_SBE_AGG_TOTAL":           number(func(t *target) *device.Number { return &t.s.ECC.AggregateCorrected }, 1),
	"DCGM_FI_DEV_ECC_DBE_AGG_TOTAL":           number(func(t *target) *device.Number { return &t.s.ECC.AggregateUncorrected }, 1),
	"DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS":   number(func(t *target) *device.Number { return &t.s.Rows.Correctable }, 1),
	"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": number(func(t *target) *device.Number { return &t.s.Rows.Uncorrectable }, 1),
	"DCGM_FI_DEV_ROW_REMAP_FAILURE":           {func(t *target, v float64) { t.s.Rows.Failed = v > 0 }},
	"DCGM_FI_DEV_ROW_REMAP_PENDING":           {func(t *target, v float64) { t.s.Rows.Pending = v > 0 }},
	"DCGM_FI_DEV_RETIRED_SBE":                 number(func(t *target) *device.Number { return &t.s.Pages.SingleBit }, 1),
	"DCGM_FI_DEV_RETIRED_DBE":                 number(func(t *target) *device.Number { return &t.s.Pages.DoubleBit }, 1),
	"DCGM_FI_DEV_RETIRED_PENDING":             {func(t *target, v float64) { t.s.Pages.Pending = v > 0 }},
	"DCGM_FI_DEV_PCIE_REPLAY_COUNTER":         number(func(t *target) *device.Number { return &t.s.PCIeReplay }, 1),
	"DCGM_FI_DEV_XID_ERRORS": {func(t *target, v float64) {
		t.s.XIDs = nil
		if v > 0 && v < 1e6 { // the last one
			t.s.XIDs = []device.XID{{Code: int(v)}}
		}
	}},

	"nv_gpu_utilization":        number(func(t *target) *device.Number { return &t.s.Utilisation }, 1),
	"nv_gpu_memory_used_bytes":  number(func(t *target) *device.Number { return &t.s.MemoryUsed }, 1),
	"nv_gpu_memory_total_bytes": {func(t *target, v float64) { t.d.MemoryBytes = whole(v) }},
	"nv_gpu_power_usage":        number(func(t *target) *device.Number { return &t.s.PowerW }, 1),
	"nv_gpu_power_limit":        number(func(t *target) *device.Number { return &t.s.PowerLimitW }, 1),
}

// whole is v as a number of bytes.
func whole(v float64) uint64 { return uint64(min(max(v, 0), 1<<62)) }

func throttle(t *target, v float64) {
	t.s.Throttle |= device.Throttle(v) // one metric with a mask, or one for each reason
}
