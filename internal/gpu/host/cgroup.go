package host

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"motley/internal/gpu/device"
)

// group is what a control group allows and has done.
type group struct {
	cores      device.Number
	memory     uint64 // bytes; 0: no limit
	throttling throttling
}

// throttling counts the periods in which a group ran, and those in which it
// was held back.
type throttling struct {
	periods, throttled float64
	known              bool
}

// group reads the control groups that this process is in, of either version:
// the tightest limit from its own up to the root counts.
func (s *Source) group() group {
	var g group
	data, err := os.ReadFile(filepath.Join(s.root, "proc/self/cgroup"))
	if err != nil {
		return g
	}
	cpu, memory, unified := groups(string(data))
	sys := filepath.Join(s.root, "sys/fs/cgroup")
	for _, dir := range upwards(unified) {
		dir := filepath.Join(sys, dir)
		g.limit(quota(text(filepath.Join(dir, "cpu.max"))))
		g.bytes(text(filepath.Join(dir, "memory.max")))
		g.stat(text(filepath.Join(dir, "cpu.stat")))
	}
	for _, dir := range upwards(cpu) {
		for _, controller := range []string{"cpu", "cpu,cpuacct"} {
			dir := filepath.Join(sys, controller, dir)
			g.limit(quota(text(filepath.Join(dir, "cpu.cfs_quota_us")) + " " + text(filepath.Join(dir, "cpu.cfs_period_us"))))
			g.stat(text(filepath.Join(dir, "cpu.stat")))
		}
	}
	for _, dir := range upwards(memory) {
		g.bytes(text(filepath.Join(sys, "memory", dir, "memory.limit_in_bytes")))
	}
	return g
}

// groups finds in /proc/self/cgroup the groups of the first version's
// controllers, and that of the second version.
func groups(file string) (cpu, memory, unified string) {
	for _, line := range strings.Split(file, "\n") {
		parts := strings.SplitN(line, ":", 3) // ID:controllers:path
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			unified = parts[2]
		}
		for _, c := range strings.Split(parts[1], ",") {
			switch c {
			case "cpu":
				cpu = parts[2]
			case "memory":
				memory = parts[2]
			}
		}
	}
	return cpu, memory, unified
}

// upwards lists a group and those that it is in. In a container the path may
// be the host's, and only the root be there.
func upwards(group string) []string {
	if group == "" {
		return nil
	}
	var dirs []string
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
		if dir == "/" || len(dirs) > 64 {
			return dirs
		}
	}
}

// quota reads "QUOTA PERIOD" in µs as cores; none for max or -1.
func quota(s string) device.Number {
	f := strings.Fields(s)
	if len(f) != 2 {
		return device.Number{}
	}
	q, err1 := strconv.ParseFloat(f[0], 64)
	p, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil || !(q > 0) || !(p > 0) {
		return device.Number{}
	}
	return device.Of(q / p)
}

func (g *group) limit(cores device.Number) {
	if cores.Known && (!g.cores.Known || cores.Value < g.cores.Value) {
		g.cores = cores
	}
}

// unlimited is from where the first version's limit of memory means none.
const unlimited = math.MaxInt64 &^ (1<<20 - 1)

func (g *group) bytes(s string) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err == nil && n < unlimited && (g.memory == 0 || n < g.memory) {
		g.memory = n
	}
}

// stat reads cpu.stat: of the groups that have a limit, the one that is held
// back most.
func (g *group) stat(s string) {
	t := throttling{}
	for _, line := range strings.Split(s, "\n") {
		name, value, _ := strings.Cut(line, " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(v >= 0) || math.IsInf(v, 0) {
			continue
		}
		switch name {
		case "nr_periods":
			t.periods, t.known = v, true
		case "nr_throttled":
			t.throttled = v
		}
	}
	if t.known && (!g.throttling.known || t.throttled > g.throttling.throttled) {
		g.throttling = t
	}
}

// text reads a small file; nothing where there is none.
func text(file string) string {
	data, err := os.ReadFile(file)
	if err != nil || len(data) > 1<<16 {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func number(file string) (float64, bool) {
	v, err := strconv.ParseFloat(text(file), 64)
	return v, err == nil && v > 0
}
