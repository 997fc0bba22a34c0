// Package device is what there is to know of a piece of hardware: what it is,
// and how it is doing. It is pure data, the same whether it was read from a
// driver, an exporter's page, another host or a file.
package device

// Kind is what a device is.
type Kind string

// The kinds.
const (
	GPU Kind = "gpu"
	MIG Kind = "mig" // a slice of a GPU
	CPU Kind = "cpu" // a host's processors
)

// Device is what does not change from one sample to the next. Empty and zero
// fields are unknown.
type Device struct {
	ID     string `json:"id"` // a GPU's or slice's UUID; cpu:NAME for a host
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Index  int    `json:"index"`            // among those of its kind on its host; a slice's: on its GPU
	Parent string `json:"parent,omitempty"` // the ID of the GPU that a slice is of
	Host   string `json:"host,omitempty"`

	MemoryBytes       uint64 `json:"memory_bytes,omitempty"`
	Driver            string `json:"driver,omitempty"`
	CUDA              string `json:"cuda,omitempty"`               // the newest that the driver takes
	ComputeCapability string `json:"compute_capability,omitempty"` // 9.0
	PCI               string `json:"pci,omitempty"`                // bus ID
	PCIeGeneration    int    `json:"pcie_generation,omitempty"`    // at most
	PCIeWidth         int    `json:"pcie_width,omitempty"`         // lanes, at most

	SMClockMaxMHz     Number `json:"sm_clock_max_mhz,omitzero"`
	MemoryClockMaxMHz Number `json:"memory_clock_max_mhz,omitzero"`
	SlowdownC         Number `json:"slowdown_c,omitzero"` // temperature from which the hardware slows itself down

	Slice *Slice `json:"slice,omitempty"` // of a MIG slice
	Cores *Cores `json:"cores,omitempty"` // of a host's processors
}

// Slice is a MIG slice's share of its GPU.
type Slice struct {
	GPUInstance     int `json:"gpu_instance"`
	ComputeInstance int `json:"compute_instance"`
	Multiprocessors int `json:"multiprocessors,omitempty"`
}

// Cores is what a host computes with when it has no accelerator.
type Cores struct {
	Logical     int      `json:"logical"`                // processors that the kernel schedules on
	Physical    int      `json:"physical,omitempty"`     // cores
	NUMANodes   int      `json:"numa_nodes,omitempty"`   // memory nodes
	Features    []string `json:"features,omitempty"`     // of those that matter for inference: avx2, avx512f, amx_tile, …
	LimitCores  Number   `json:"limit_cores,omitzero"`   // what the control group may use
	LimitMemory uint64   `json:"limit_memory,omitempty"` // bytes, likewise
	MaxMHz      Number   `json:"max_mhz,omitzero"`
}
