// Package host tells what a host without an accelerator computes with: its
// processors, memory, what its control group allows, and how busy it is. It
// reads /proc and /sys.
package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/procfs"

	"motley/internal/gpu/device"
)

// Source reads one host. It is safe for concurrent use.
type Source struct {
	root string
	mu   struct {
		sync.Mutex
		busy, idle float64 // processor time so far, s
		periods    throttling
		seen       bool
	}
}

// New returns a source of the host whose /proc and /sys are under root; "/"
// is this one.
func New(root string) *Source { return &Source{root: root} }

// features are those of an x86 or Arm processor that matter for inference.
var features = []string{
	"avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16",
	"asimd", "asimddp", "asimdhp", "sve", "sve2", "i8mm", "bf16",
}

// Read reads the host. What a container hides is named in Missing; only a
// host without /proc/cpuinfo is an error.
func (s *Source) Read(ctx context.Context) (device.Page, error) {
	if err := ctx.Err(); err != nil {
		return device.Page{}, err
	}
	proc, err := procfs.NewFS(filepath.Join(s.root, "proc"))
	if err != nil {
		return device.Page{}, fmt.Errorf("cannot read the host: %w", err)
	}
	cpus, err := proc.CPUInfo()
	if err != nil || len(cpus) == 0 {
		return device.Page{}, fmt.Errorf("cannot read the host's processors: %w", err)
	}
	g := s.group()
	d := describe(cpus, g)
	d.Cores.NUMANodes = len(s.glob("sys/devices/system/node/node[0-9]*"))
	sample := device.Sample{Device: "", Access: device.Reachable, Load: &device.Load{}}
	missing := func(name string) { sample.Missing = append(sample.Missing, name) }

	var sum, most float64
	files := s.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
	for _, f := range files {
		khz, _ := number(f)
		sum += khz / 1000
		if khz, ok := number(filepath.Join(filepath.Dir(f), "cpuinfo_max_freq")); ok {
			most = max(most, khz/1000)
		}
	}
	switch {
	case sum > 0:
		sample.Load.MHz = device.Of(sum / float64(len(files)))
	case cpus[0].CPUMHz > 0: // as a virtual machine is told
		sample.Load.MHz = device.Of(cpus[0].CPUMHz)
	default:
		missing("frequency")
	}
	if most > 0 {
		d.Cores.MaxMHz = device.Of(most)
	}
	if m, err := proc.Meminfo(); err == nil && m.MemTotalBytes != nil && m.MemAvailableBytes != nil {
		d.MemoryBytes = *m.MemTotalBytes
		sample.Load.Available = device.Of(float64(*m.MemAvailableBytes))
		sample.MemoryUsed = device.Of(float64(*m.MemTotalBytes) - float64(*m.MemAvailableBytes))
	} else {
		missing("memory_used")
	}
	if l, err := proc.LoadAvg(); err == nil {
		sample.Load.Load1 = device.Of(l.Load1)
	} else {
		missing("load1")
	}
	d.Host, _ = os.Hostname()
	if name, err := os.ReadFile(filepath.Join(s.root, "proc/sys/kernel/hostname")); err == nil {
		d.Host = strings.TrimSpace(string(name))
	}
	d.ID = "cpu:" + d.Host
	sample.Device = d.ID
	s.since(proc, g, &sample)
	return device.Page{Devices: []device.Device{d}, Samples: []device.Sample{sample}}, nil
}

// since fills in what takes two readings: from the second read on.
func (s *Source) since(proc procfs.FS, g group, sample *device.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err := proc.Stat(); err == nil {
		t := st.CPUTotal
		busy := t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal
		idle := t.Idle + t.Iowait
		if b, i := busy-s.mu.busy, idle-s.mu.idle; s.mu.seen && b >= 0 && i >= 0 && b+i > 0 {
			sample.Utilisation = device.Of(b / (b + i))
		}
		s.mu.busy, s.mu.idle = busy, idle
	} else {
		sample.Missing = append(sample.Missing, "utilisation")
	}
	if now := g.throttling; now.known {
		if n := now.periods - s.mu.periods.periods; s.mu.seen && n > 0 && now.throttled >= s.mu.periods.throttled {
			sample.Load.Throttled = device.Of(min(1, (now.throttled-s.mu.periods.throttled)/n))
		} else if s.mu.seen && n == 0 {
			sample.Load.Throttled = device.Of(0)
		}
		s.mu.periods = now
	}
	s.mu.seen = true
}

// describe makes a device of the processors.
func describe(cpus []procfs.CPUInfo, g group) device.Device {
	c := &device.Cores{Logical: len(cpus), LimitCores: g.cores, LimitMemory: g.memory}
	type core struct{ socket, id string }
	var cores []core
	for _, cpu := range cpus {
		if k := (core{cpu.PhysicalID, cpu.CoreID}); k != (core{}) && !slices.Contains(cores, k) {
			cores = append(cores, k)
		}
	}
	c.Physical = len(cores)
	for _, f := range features {
		if slices.Contains(cpus[0].Flags, f) {
			c.Features = append(c.Features, f)
		}
	}
	name := cpus[0].ModelName
	if name == "" {
		name = cpus[0].VendorID
	}
	return device.Device{Kind: device.CPU, Name: name, Cores: c}
}

func (s *Source) glob(pattern string) []string {
	files, _ := filepath.Glob(filepath.Join(s.root, pattern)) // the patterns are ours
	return files
}
