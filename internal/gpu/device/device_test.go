package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func full() Page {
	return Page{
		Devices: []Device{
			{ID: "GPU-a", Kind: GPU, Name: "T4", MemoryBytes: 1 << 34, SMClockMaxMHz: Of(1590)},
			{ID: "MIG-b", Kind: MIG, Parent: "GPU-a", Slice: &Slice{GPUInstance: 2, Multiprocessors: 14}},
			{ID: "cpu:h", Kind: CPU, Cores: &Cores{Logical: 4, Features: []string{"avx2"}, LimitCores: Of(1.5)}},
		},
		Samples: []Sample{
			{Device: "GPU-a", Access: Reachable, Age: 3 * time.Second, TemperatureC: Of(0), Throttle: HWThermal | PowerCap | 1<<40,
				ECC: ECC{VolatileUncorrected: Of(0)}, Rows: Rows{Failed: true}, XIDs: []XID{{Seq: 4, Code: 79, Age: time.Second}},
				Recovery: RecoverReset, Processes: []Process{{PID: 7}}, Missing: []string{"power"}},
			{Device: "cpu:h", Access: Reachable, Load: &Load{Throttled: Of(0.25)}},
			{Device: "MIG-b", Access: Lost, Detail: "gone"},
		},
		Missing: []string{"NVML: none"},
	}
}

func TestPageKeepsEverything(t *testing.T) {
	data, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePage(data)
	if err != nil || !reflect.DeepEqual(p, full()) {
		t.Errorf("%v\n%s\n%+v", err, data, p)
	}
	for _, want := range []string{`"temperature_c":0`, `"throttle":["power_cap","hw_thermal","bit_40"]`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	for _, not := range []string{"power_w", "sm_clock_mhz\"", "aggregate"} {
		if strings.Contains(string(data), not) {
			t.Errorf("%s, which is unknown, in %s", not, data)
		}
	}
}

func TestPageRefuses(t *testing.T) {
	for _, c := range []struct{ page, want string }{
		{`{`, "unexpected"}, {`[]`, "cannot"}, {`{} {}`, "follows"}, {``, "EOF"},
		{`{"devices":[{"id":""}]}`, "1 to 1024"},
		{`{"samples":[{"device":"a","access":"fine"}]}`, "no such access"},
		{`{"samples":[{"device":"","access":"ok"}]}`, "1 to 1024"},
		{`{"samples":[{"device":"a","access":"ok","age_ns":-1}]}`, "negative"},
		{`{"samples":[{"device":"a","access":"ok","throttle":["heat"]}]}`, "no such reason"},
		{`{"samples":[{"device":"a","access":"ok","throttle":["bit_64"]}]}`, "no such reason"},
		{`{"samples":[{"device":"a","access":"ok","power_w":"much"}]}`, "number"},
		{`{"devices":[` + strings.Repeat(`{"id":"a"},`, 1024) + `{"id":"a"}]}`, "at most 1024"},
	} {
		if _, err := ParsePage([]byte(c.page)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %q", c.page, err, c.want)
		}
	}
	if _, err := ReadPage(bytes.NewReader(make([]byte, MaxPage+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large page: %v", err)
	}
	if _, err := ReadPage(strings.NewReader(`{"new":[1],"devices":[{"id":"a","new":{}}]}`)); err != nil {
		t.Errorf("a page of a newer agent: %v", err)
	}
}

func TestNumber(t *testing.T) {
	if Of(math.NaN()).Known || Of(math.Inf(1)).Known || !Of(0).Known {
		t.Error("what is a number is not told")
	}
	if Of(3).Over(Of(2)) != Of(1.5) || Of(3).Over(Of(0)).Known || Of(3).Over(Number{}).Known || (Number{}).Over(Of(2)).Known {
		t.Error("Over")
	}
	if (Number{}).Or(7) != 7 || Of(1).Or(7) != 1 {
		t.Error("Or")
	}
}

const recording = `{"at_s":0,"device":{"id":"a","kind":"gpu"}}
{"at_s":1,"sample":{"device":"a","access":"ok","temperature_c":50}}

{"at_s":1.5,"device":{"id":"b","kind":"gpu"}}
{"at_s":2,"sample":{"device":"b","access":"lost"}}
{"at_s":3,"sample":{"device":"a","access":"ok","temperature_c":60}}
`

func TestRecording(t *testing.T) {
	r, err := ReadRecording("f", strings.NewReader(recording))
	if err != nil || len(r.Devices()) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, c := range []struct {
		at      time.Duration
		devices int
		samples []Sample
	}{
		{0, 1, nil},
		{1500 * time.Millisecond, 2, []Sample{{Device: "a", Access: Reachable, TemperatureC: Of(50), Age: 500 * time.Millisecond}}},
		{4 * time.Second, 2, []Sample{{Device: "a", Access: Reachable, TemperatureC: Of(60), Age: time.Second}, {Device: "b", Access: Lost, Age: 2 * time.Second}}},
	} {
		if p := r.At(c.at); len(p.Devices) != c.devices || !reflect.DeepEqual(p.Samples, c.samples) {
			t.Errorf("at %v: %+v", c.at, p)
		}
	}
	for _, c := range []struct{ lines, want string }{
		{`{"at_s":1}`, "line 1: want a device or a sample"},
		{`{"at_s":-1,"device":{"id":"a"}}`, "at_s"},
		{"{\"at_s\":2,\"device\":{\"id\":\"a\"}}\n{\"at_s\":1,\"device\":{\"id\":\"b\"}}", "line 2: at_s: 1 is before"},
		{`{"at_s":1,"sample":{"device":"a","access":"ok"}}`, "not named before"},
		{"{\"at_s\":1,\"device\":{\"id\":\"a\"}}\n{\"at_s\":1,\"device\":{\"id\":\"a\"}}", "already"},
		{`no`, "line 1"}, {strings.Repeat("x", maxLine+1), "too long"},
	} {
		if _, err := ReadRecording("f", strings.NewReader(c.lines)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.50s: %v, want %q", c.lines, err, c.want)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	data, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"samples":[{"device":"a","access":"ok","throttle":["bit_63","idle"],"power_w":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePage(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParsePage(again)
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if third, err := json.Marshal(q); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v\n%s\n%s", err, again, third)
		}
	})
}

func FuzzRecording(f *testing.F) {
	f.Add([]byte(recording), int64(2e9))
	f.Fuzz(func(t *testing.T, data []byte, at int64) {
		r, err := ReadRecording("f", bytes.NewReader(data))
		if err != nil {
			return
		}
		p := r.At(time.Duration(at))
		for _, s := range p.Samples {
			if s.Device == "" {
				t.Fatalf("%+v", p)
			}
		}
	})
}
