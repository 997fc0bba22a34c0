package host

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"motley/internal/gpu/device"
)

// tree writes files under a root: name, content, and so on.
func tree(t *testing.T, root string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		f := filepath.Join(root, files[i])
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(files[i+1]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const cpu = `processor	: %
vendor_id	: GenuineIntel
cpu family	: 6
model		: 143
model name	: Intel(R) Xeon(R) Platinum 8481C
cpu MHz		: 2700.000
physical id	: 0
siblings	: 4
core id		: #
cpu cores	: 2
flags		: fpu sse avx avx2 fma avx512f avx512_vnni amx_bf16 amx_tile amx_int8
bogomips	: 5400.00
`

func machine(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("NOT CHECKED: the recorded /proc/cpuinfo is of an x86 processor, and read by its architecture's rules")
	}
	var cpus []string
	for i, core := range []string{"0", "0", "1", "1"} {
		cpus = append(cpus, strings.NewReplacer("%", string(rune('0'+i)), "#", core).Replace(cpu))
	}
	root := t.TempDir()
	tree(t, root,
		"proc/cpuinfo", strings.Join(cpus, "\n"),
		"proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:   12000000 kB",
		"proc/loadavg", "1.50 0.70 0.30 1/200 4321",
		"proc/stat", "cpu  1000 0 0 1000 0 0 0 0 0 0\ncpu0 1000 0 0 1000 0 0 0 0 0 0",
		"proc/sys/kernel/hostname", "box",
		"proc/self/cgroup", "0::/kube/pod1",
		"sys/fs/cgroup/kube/pod1/cpu.max", "150000 100000",
		"sys/fs/cgroup/kube/cpu.max", "max 100000",
		"sys/fs/cgroup/kube/pod1/memory.max", "max",
		"sys/fs/cgroup/kube/memory.max", "4294967296",
		"sys/fs/cgroup/kube/pod1/cpu.stat", "usage_usec 5\nnr_periods 100\nnr_throttled 10\nthrottled_usec 77",
		"sys/devices/system/node/node0/cpulist", "0-1", "sys/devices/system/node/node1/cpulist", "2-3",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000", "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3800000",
		"sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2000000", "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "3800000",
	)
	return root
}

func TestHost(t *testing.T) {
	root := machine(t)
	src := New(root)
	p, err := src.Read(t.Context())
	if err != nil || len(p.Devices) != 1 || len(p.Samples) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	d, s := p.Devices[0], p.Samples[0]
	if d.ID != "cpu:box" || d.Kind != device.CPU || d.Name != "Intel(R) Xeon(R) Platinum 8481C" || d.MemoryBytes != 16000000<<10 || s.Device != d.ID {
		t.Errorf("%+v", d)
	}
	c := d.Cores
	if c.Logical != 4 || c.Physical != 2 || c.NUMANodes != 2 || c.LimitCores != device.Of(1.5) || c.LimitMemory != 4<<30 || c.MaxMHz != device.Of(3800) {
		t.Errorf("%+v", c)
	}
	if want := []string{"avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "amx_int8", "amx_bf16"}; !slices.Equal(c.Features, want) {
		t.Errorf("features %v, want %v", c.Features, want)
	}
	if s.Load.Load1 != device.Of(1.5) || s.Load.MHz != device.Of(2500) || s.Load.Available != device.Of(12000000<<10) || s.MemoryUsed != device.Of(4000000<<10) {
		t.Errorf("%+v", s.Load)
	}
	if s.Utilisation.Known || s.Load.Throttled.Known {
		t.Errorf("one reading already tells a rate: %+v", s)
	}

	tree(t, root, "proc/stat", "cpu  1300 0 0 1100 0 0 0 0 0 0", "sys/fs/cgroup/kube/pod1/cpu.stat", "nr_periods 120\nnr_throttled 15")
	p, err = src.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Samples[0]; s.Utilisation != device.Of(0.75) || s.Load.Throttled != device.Of(0.25) {
		t.Errorf("utilisation %v, held back %v; want 0.75 and 0.25", s.Utilisation, s.Load.Throttled)
	}
	// The group is made anew: its counters fell.
	tree(t, root, "sys/fs/cgroup/kube/pod1/cpu.stat", "nr_periods 3\nnr_throttled 1")
	if p, err = src.Read(t.Context()); err != nil || p.Samples[0].Load.Throttled.Known {
		t.Errorf("%+v, %v", p.Samples, err)
	}
}

func TestFirstVersionGroups(t *testing.T) {
	root := t.TempDir()
	tree(t, root,
		"proc/self/cgroup", "5:cpuacct,cpu:/a/b\n4:memory:/a\n0::/",
		"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000",
		"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "50000", "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000",
		"sys/fs/cgroup/cpu,cpuacct/a/b/cpu.stat", "nr_periods 7\nnr_throttled 3\nthrottled_time 1",
		"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712",
	)
	want := group{cores: device.Of(0.5), memory: 1 << 30, throttling: throttling{7, 3, true}}
	if g := New(root).group(); g != want {
		t.Errorf("%+v, want %+v", g, want)
	}
}

// This host, whatever it is.
func TestThisHost(t *testing.T) {
	p, err := New("/").Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Devices[0]; d.Cores.Logical < 1 || d.MemoryBytes == 0 || d.Name == "" {
		t.Errorf("%+v", d)
	}
}

func TestNoHost(t *testing.T) {
	for _, root := range []string{"/nonexistent", t.TempDir()} {
		if _, err := New(root).Read(t.Context()); err == nil {
			t.Errorf("%s: a host", root)
		}
	}
}

func FuzzGroup(f *testing.F) {
	f.Add("0::/a/../../b\n5:cpu:/c", "100 200", "nr_periods 1e400\nnr_throttled -1", "99")
	f.Fuzz(func(t *testing.T, groupFile, limit, stat, memory string) {
		for _, g := range []string{groupFile, "0::" + groupFile} {
			cpu, mem, unified := groups(g)
			for _, dir := range []string{cpu, mem, unified} {
				for _, up := range upwards(dir) {
					if strings.Contains(up, "..") && strings.Contains("/"+up+"/", "/../") {
						t.Fatalf("%q leads out of the tree", up)
					}
				}
			}
		}
		var g group
		g.limit(quota(limit))
		g.stat(stat)
		g.bytes(memory)
		if g.cores.Known && !(g.cores.Value > 0) || g.throttling.known && !(g.throttling.throttled >= 0 && g.throttling.periods >= 0) {
			t.Fatalf("%+v", g)
		}
	})
}
