package router

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/gpu/device"
	"motley/internal/live"
	"motley/internal/promtest"
)

// /debug/pool and the metrics tell of every worker what its loop tells.
func TestPool(t *testing.T) {
	age := 0.25
	health := []live.WorkerHealth{
		{Name: "w0", Type: "g4dn.xlarge", State: "up", Health: "derated", Slowdown: 1.9, Uncertainty: 1.5, Ramp: 1, Takes: true, Recommended: "derate",
			Evidence: []string{"throttled"}, Used: live.UsedHealth{Slowdown: 1.9, Uncertainty: 1.5, Ramp: 1, Takes: true}, Batches: 7, ProfileError: 0.1,
			Telemetry: "this host", Device: &device.Device{ID: "GPU-0", Kind: device.GPU}, SampleAgeS: &age, Sample: &device.Sample{Device: "GPU-0", Access: device.Reachable}},
		{Name: "w1", Type: "r5n.large", State: "up", Health: "gone", Slowdown: 1, Uncertainty: 1, Recommended: "restart", Evidence: []string{}},
	}
	for _, judged := range []bool{true, false} {
		f := newFixture(t, func(c *Config) {
			if !judged {
				return
			}
			c.Health = func() []live.WorkerHealth { return health }
			if err := c.Gatherer.(*prometheus.Registry).Register(NewHealthCollector(c.Health)); err != nil {
				t.Fatal(err)
			}
		})
		res := f.admin("GET", "/debug/pool")
		var got struct {
			Judged  bool
			Workers []live.WorkerHealth
		}
		if err := json.Unmarshal(res.body, &got); err != nil || res.status != 200 || got.Judged != judged {
			t.Fatalf("%d, %v: %s", res.status, err, res.body)
		}
		if judged && !reflect.DeepEqual(got.Workers, health) || !judged && (got.Workers == nil || len(got.Workers) > 0) {
			t.Errorf("judged %v: %s", judged, res.body)
		}
		page := string(f.admin("GET", "/metrics").body)
		promtest.Check(t, page, "")
		for _, want := range []string{
			`motley_worker_health{instance_type="g4dn.xlarge",state="derated",worker="w0"} 1`, `motley_worker_health{instance_type="g4dn.xlarge",state="ok",worker="w0"} 0`,
			`motley_worker_slowdown_ratio{instance_type="g4dn.xlarge",worker="w0"} 1.9`, `motley_worker_uncertainty_ratio{instance_type="g4dn.xlarge",worker="w0"} 1.5`,
			`motley_worker_takes_work{instance_type="r5n.large",worker="w1"} 0`, `motley_worker_ramp_ratio{instance_type="r5n.large",worker="w1"} 0`,
			`motley_worker_profile_error_ratio{instance_type="g4dn.xlarge",worker="w0"} 0.1`, `motley_worker_telemetry_stale{instance_type="g4dn.xlarge",worker="w0"} 0`,
			`motley_worker_device_info{device="GPU-0",worker="w0"} 1`,
		} {
			if strings.Contains(page, want+"\n") != judged {
				t.Errorf("judged %v: %s", judged, want)
			}
		}
		if strings.Contains(page, `motley_worker_telemetry_stale{instance_type="r5n.large"`) {
			t.Error("telemetry of a worker that has none")
		}
	}
}
