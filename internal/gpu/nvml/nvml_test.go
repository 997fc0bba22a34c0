//go:build cgo && linux

package nvml

import (
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/gpu/device"
)

// mixed is a machine with a T4 and an H100 that is cut into two slices.
const mixed = `driver 550.54.15
count 2
gpu0.uuid GPU-t4
gpu0.name Tesla T4
gpu0.memory 16106127360
gpu0.used 1073741824
gpu0.cc_major 7
gpu0.cc_minor 5
gpu0.pci 00000000:00:1E.0
gpu0.pcie_generation 3
gpu0.pcie_width 16
gpu0.sm_clock_max 1590
gpu0.memory_clock_max 5001
gpu0.slowdown 93
gpu0.temperature 61
gpu0.utilisation 87
gpu0.power 68500
gpu0.power_limit 70000
gpu0.sm_clock 1350
gpu0.memory_clock 5000
gpu0.throttle 0x44
gpu0.ecc.volatile.corrected 3
gpu0.ecc.volatile.uncorrected 0
gpu0.ecc.aggregate.corrected 12
gpu0.ecc.aggregate.uncorrected 1
gpu0.pages.single 3
gpu0.pages.double 1
gpu0.pages.pending 1
gpu0.replay 2
gpu0.processes 3
gpu0.mig 0
gpu1.uuid GPU-h100
gpu1.name NVIDIA H100 80GB HBM3
gpu1.memory 85520809984
gpu1.used 20000000000
gpu1.cc_major 9
gpu1.cc_minor 0
gpu1.pci 00000000:18:00.0
gpu1.sm_clock_max 1980
gpu1.temperature 40
gpu1.sm_clock 1980
gpu1.throttle 1
gpu1.rows.corrected 1
gpu1.rows.uncorrected 2
gpu1.rows.pending 1
gpu1.rows.failed 0
gpu1.recovery 0
gpu1.mig 1
gpu1.mig0.uuid MIG-a
gpu1.mig0.name NVIDIA H100 80GB HBM3 MIG 3g.40gb
gpu1.mig0.gi 2
gpu1.mig0.ci 0
gpu1.mig0.sms 60
gpu1.mig0.memory 42000000000
gpu1.mig0.used 1000000
gpu1.mig0.processes 1
gpu1.mig3.uuid MIG-b
gpu1.mig3.gi 5`

func TestInventory(t *testing.T) {
	r := watch(t, compile(t), mixed).read()
	if r.Err != "" || len(r.Page.Devices) != 4 || len(r.Page.Samples) != 4 {
		t.Fatalf("%+v", r)
	}
	t4 := r.Page.Devices[0]
	want := device.Device{
		ID: "GPU-t4", Kind: device.GPU, Name: "Tesla T4", MemoryBytes: 16106127360, Driver: "550.54.15", CUDA: "12.4",
		ComputeCapability: "7.5", PCI: "00000000:00:1E.0", PCIeGeneration: 3, PCIeWidth: 16,
		SMClockMaxMHz: device.Of(1590), MemoryClockMaxMHz: device.Of(5001), SlowdownC: device.Of(93),
	}
	if t4 != want {
		t.Errorf("the T4 is %+v, want %+v", t4, want)
	}
	a, b := r.Page.Devices[2], r.Page.Devices[3]
	if a.ID != "MIG-a" || a.Kind != device.MIG || a.Parent != "GPU-h100" || a.MemoryBytes != 42000000000 ||
		*a.Slice != (device.Slice{GPUInstance: 2, Multiprocessors: 60}) || !strings.HasSuffix(a.Name, "3g.40gb") {
		t.Errorf("the first slice is %+v %+v", a, a.Slice)
	}
	if b.ID != "MIG-b" || b.Index != 3 || b.Slice.GPUInstance != 5 || b.Name != "NVIDIA H100 80GB HBM3" {
		t.Errorf("the second slice is %+v", b)
	}
}

func TestSample(t *testing.T) {
	r := watch(t, compile(t), mixed).read()
	s := r.sample(t, "GPU-t4")
	for _, c := range []struct {
		name string
		got  device.Number
		want float64
	}{
		{"temperature", s.TemperatureC, 61}, {"utilisation", s.Utilisation, 0.87}, {"memory", s.MemoryUsed, 1073741824},
		{"power", s.PowerW, 68.5}, {"limit", s.PowerLimitW, 70}, {"SM clock", s.SMClockMHz, 1350}, {"memory clock", s.MemoryClockMHz, 5000},
		{"volatile corrected", s.ECC.VolatileCorrected, 3}, {"volatile uncorrected", s.ECC.VolatileUncorrected, 0},
		{"aggregate corrected", s.ECC.AggregateCorrected, 12}, {"aggregate uncorrected", s.ECC.AggregateUncorrected, 1},
		{"pages, single", s.Pages.SingleBit, 3}, {"pages, double", s.Pages.DoubleBit, 1}, {"replay", s.PCIeReplay, 2},
	} {
		if c.got != device.Of(c.want) {
			t.Errorf("%s: %+v, want %v", c.name, c.got, c.want)
		}
	}
	if s.Access != device.Reachable || s.Throttle != device.PowerCap|device.HWThermal || !s.Pages.Pending || len(s.Processes) != 3 {
		t.Errorf("%+v", s)
	}
	if s.Processes[0].MemoryBytes != 0 || s.Processes[1] != (device.Process{PID: 101, MemoryBytes: 1024}) {
		t.Errorf("processes %+v", s.Processes)
	}
	if want := []string{"rows", "recovery"}; !slices.Equal(s.Missing, want) {
		t.Errorf("missing %v, want %v", s.Missing, want)
	}
	h := r.sample(t, "GPU-h100")
	if h.Rows != (device.Rows{Correctable: device.Of(1), Uncorrectable: device.Of(2), Pending: true}) || h.Recovery != device.RecoverNone {
		t.Errorf("%+v", h)
	}
	m := r.sample(t, "MIG-a")
	if m.TemperatureC != device.Of(40) || m.MemoryUsed != device.Of(1000000) || m.Utilisation.Known || len(m.Processes) != 1 {
		t.Errorf("the slice's sample is %+v", m)
	}
}

func TestOldDriver(t *testing.T) {
	r := watch(t, compile(t, "-DOLD"), mixed).read()
	if r.Err != "" || len(r.Page.Devices) != 2 {
		t.Fatalf("%+v", r)
	}
	s := r.sample(t, "GPU-t4")
	if s.TemperatureC != device.Of(61) || s.MemoryUsed != device.Of(1073741824) || s.Throttle != device.PowerCap|device.HWThermal {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"power", "rows", "ecc_volatile_uncorrected", "processes", "recovery"} {
		if !slices.Contains(s.Missing, want) {
			t.Errorf("%s is not named as missing: %v", want, s.Missing)
		}
	}
}

func TestXIDInTheMiddle(t *testing.T) {
	m := watch(t, compile(t), mixed)
	if s := m.read().sample(t, "GPU-t4"); len(s.XIDs) != 0 {
		t.Fatalf("%+v", s.XIDs)
	}
	m.set("xid.1 0 79 -1", "xid.2 1 94 2")
	r := m.read()
	code := func(id string) (codes []int) {
		for _, x := range r.sample(t, id).XIDs {
			codes = append(codes, x.Code)
		}
		return codes
	}
	for id, want := range map[string][]int{"GPU-t4": {79}, "GPU-h100": {94}, "MIG-a": {94}, "MIG-b": nil} {
		if got := code(id); !slices.Equal(got, want) {
			t.Errorf("%s: XIDs %v, want %v", id, got, want)
		}
	}
	seq := r.sample(t, "GPU-t4").XIDs[0].Seq
	r = m.read()
	if x := r.sample(t, "GPU-t4").XIDs; len(x) != 1 || x[0].Seq != seq {
		t.Errorf("the same XID became %+v", x)
	}
}

func TestLostAndFound(t *testing.T) {
	m := watch(t, compile(t), mixed)
	m.read()
	m.set("fail.*.gpu0 15") // NVML_ERROR_GPU_IS_LOST, the UUID's too
	r := m.read()
	if s := r.sample(t, "GPU-t4"); s.Access != device.Lost || !strings.Contains(s.Detail, "fallen off the bus") {
		t.Errorf("%+v", s)
	}
	if s := r.sample(t, "GPU-h100"); s.Access != device.Reachable {
		t.Errorf("the other GPU: %+v", s)
	}
	m.unset("fail.*.gpu0")
	if s := m.read().sample(t, "GPU-t4"); s.Access != device.Reachable {
		t.Errorf("after its return: %+v", s)
	}
	m.set("fail.nvmlDeviceGetPowerUsage.gpu1 16") // NVML_ERROR_RESET_REQUIRED, by one call of many
	r = m.read()
	for _, id := range []string{"GPU-h100", "MIG-a", "MIG-b"} {
		if s := r.sample(t, id); s.Access != device.ResetRequired {
			t.Errorf("%s: %+v", id, s)
		}
	}
	m.set("count 1")
	if s := m.read().sample(t, "MIG-b"); s.Access != device.Lost || !strings.Contains(s.Detail, "no longer lists") {
		t.Errorf("%+v", s)
	}
}

// A call that hangs costs one read its limit; no second one is started.
func TestHang(t *testing.T) {
	m := watch(t, compile(t), mixed)
	m.read()
	m.set("hang.nvmlDeviceGetTemperature.gpu0 1")
	for range 3 {
		r := m.read()
		if s := r.sample(t, "GPU-t4"); s.Access != device.Hung || r.Hung != 1 {
			t.Fatalf("%d hang, %+v", r.Hung, s)
		}
		if s := r.sample(t, "GPU-h100"); s.Access != device.Reachable {
			t.Fatalf("the other GPU: %+v", s)
		}
	}
	m.unset("hang.nvmlDeviceGetTemperature.gpu0")
	for start := time.Now(); time.Since(start) < 20*time.Second; { // the call comes back within 10 ms of its own
		if r := m.read(); r.sample(t, "GPU-t4").Access == device.Reachable && r.Hung == 0 {
			m.set("hang.nvmlDeviceGetCount_v2 1")
			r := m.read()
			if s := r.sample(t, "GPU-t4"); s.Access != device.Reachable || r.Hung != 1 || len(r.Page.Missing) != 1 {
				t.Errorf("with the list hanging: %+v", r)
			}
			m.unset("hang.nvmlDeviceGetCount_v2")
			return
		}
	}
	t.Error("the GPU did not come back")
}

func TestNothingToAsk(t *testing.T) {
	library := compile(t)
	for _, c := range []struct{ library, script, want string }{
		{"/nonexistent/libnvidia-ml.so.1", "", "cannot be loaded"},
		{library, "fail.nvmlInit_v2 9", "not loaded"},
		{library, "fail.nvmlInit_v2 4", "no permission"},
		{library, "fail.nvmlInit_v2 18", "different versions"},
		{library, "hang.nvmlInit_v2 1", "does not answer"},
		{library, "fail.nvmlDeviceGetCount_v2 999", "internal error"},
	} {
		m := watch(t, c.library, c.script)
		r := m.read()
		if !strings.HasPrefix(r.Err, "NVML not available") || !strings.Contains(r.Err, c.want) {
			t.Errorf("%s: %q, want %q", c.script, r.Err, c.want)
		}
		m.lines = nil
		m.write()
	}
	m := watch(t, library, "count 2\ngpu1.uuid GPU-x\nfail.nvmlDeviceGetUUID.gpu0 15")
	if r := m.read(); len(r.Page.Devices) != 1 || len(r.Page.Missing) != 1 || !strings.HasPrefix(r.Page.Missing[0], "GPU 0: ") {
		t.Errorf("a GPU lost from the start: %+v", r)
	}
}

// The driver may be loaded after the router.
func TestDriverComesLater(t *testing.T) {
	m := watch(t, compile(t), mixed+"\nfail.nvmlInit_v2 9")
	if r := m.read(); r.Err == "" {
		t.Fatalf("%+v", r)
	}
	m.unset("fail.nvmlInit_v2")
	if r := m.read(); r.Err != "" || len(r.Page.Devices) != 4 {
		t.Errorf("%+v", r)
	}
}
