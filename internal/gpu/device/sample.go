package device

import "time"

// Access is how well a device could be asked.
type Access string

// The ways that asking a device ends.
const (
	Reachable     Access = "ok"
	Lost          Access = "lost"           // fallen off the bus, or no longer listed
	ResetRequired Access = "reset_required" // the driver serves it again after a reset
	Hung          Access = "hung"           // the driver has not answered within its time
	Denied        Access = "denied"         // no permission
	Failed        Access = "failed"         // another error; Detail says which
)

// Sample is how a device is doing. Unknown readings are left out; what could
// have been asked but could not be read is named in Missing.
type Sample struct {
	Device string        `json:"device"` // Device.ID
	Access Access        `json:"access"`
	Detail string        `json:"detail,omitempty"` // why, when not Reachable
	Age    time.Duration `json:"age_ns"`           // how old it was when it was handed over

	Utilisation    Number   `json:"utilisation,omitzero"` // 0 … 1: share of time that something ran
	MemoryUsed     Number   `json:"memory_used_bytes,omitzero"`
	TemperatureC   Number   `json:"temperature_c,omitzero"`
	PowerW         Number   `json:"power_w,omitzero"`
	PowerLimitW    Number   `json:"power_limit_w,omitzero"`
	SMClockMHz     Number   `json:"sm_clock_mhz,omitzero"`
	MemoryClockMHz Number   `json:"memory_clock_mhz,omitzero"`
	Throttle       Throttle `json:"throttle,omitempty"` // 0 also when unknown: see Missing

	ECC        ECC       `json:"ecc,omitzero"`
	Rows       Rows      `json:"rows,omitzero"`
	Pages      Pages     `json:"pages,omitzero"`
	PCIeReplay Number    `json:"pcie_replay,omitzero"` // since the driver was loaded
	XIDs       []XID     `json:"xids,omitempty"`       // the latest, oldest first
	Recovery   Recovery  `json:"recovery,omitempty"`
	Processes  []Process `json:"processes,omitempty"`

	Load *Load `json:"load,omitempty"` // of a host's processors

	Missing []string `json:"missing,omitempty"` // names of readings
}

// ECC counts memory errors: volatile since the driver was loaded or the GPU
// reset, aggregate over its life.
type ECC struct {
	VolatileCorrected    Number `json:"volatile_corrected,omitzero"`
	VolatileUncorrected  Number `json:"volatile_uncorrected,omitzero"`
	AggregateCorrected   Number `json:"aggregate_corrected,omitzero"`
	AggregateUncorrected Number `json:"aggregate_uncorrected,omitzero"`
}

// Rows is what the row remapper has done (Ampere and newer).
type Rows struct {
	Correctable   Number `json:"correctable,omitzero"`
	Uncorrectable Number `json:"uncorrectable,omitzero"`
	Pending       bool   `json:"pending,omitempty"` // takes effect with the next reset
	Failed        bool   `json:"failed,omitempty"`  // no spare row was left
}

// Pages counts retired memory pages (before Ampere).
type Pages struct {
	SingleBit Number `json:"single_bit,omitzero"`
	DoubleBit Number `json:"double_bit,omitzero"`
	Pending   bool   `json:"pending,omitempty"`
}

// XID is an error that the driver reported. Seq counts those of a source, so
// that one seen twice is known to be the same.
type XID struct {
	Seq  uint64        `json:"seq"`
	Code int           `json:"code"`
	Age  time.Duration `json:"age_ns"`
}

// Recovery is what the driver says a device needs; empty when it says nothing.
type Recovery string

// What a driver may ask for.
const (
	RecoverNone     Recovery = "none"
	RecoverReset    Recovery = "gpu_reset"
	RecoverReboot   Recovery = "node_reboot"
	RecoverDrain    Recovery = "drain_p2p"
	RecoverDrainAll Recovery = "drain_and_reset"
	RecoverOther    Recovery = "other"
)

// Process runs on a device.
type Process struct {
	PID         int    `json:"pid"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
}

// Load is how busy a host's processors are.
type Load struct {
	Load1     Number `json:"load1,omitzero"` // runnable tasks, mean of a minute
	MHz       Number `json:"mhz,omitzero"`   // mean over processors
	Available Number `json:"memory_available_bytes,omitzero"`
	// Throttled is the share of the control group's periods since the last
	// sample in which it was held back.
	Throttled Number `json:"throttled,omitzero"`
}
