package sim_test

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// TestMeasuredSpeeds gives workers a machine and its changes.
func TestMeasuredSpeeds(t *testing.T) {
	const file = `test,vm_sku,region,lifespan,vm_id,hours_since_first,rel_speed
a,s,r,short,1,0,0.5
a,s,r,long,7,0,2
a,s,r,long,7,1,4
b,s,r,short,1,0,9
`
	s, err := sim.ReadSpeeds("f", strings.NewReader(file), "a", "s")
	if err != nil {
		t.Fatal(err)
	}
	d := sim.MeasuredSpeeds(s, 10*ms)
	one, two := disturbed(t, d, 0, 0), disturbed(t, d, 0, at(15))
	if math.Abs(one*two-0.5) > 1e-6 || math.Abs(max(one, two)-1) > 1e-6 {
		t.Errorf("takes %v, then %v times as long, want 1 and 1/2 in some order", one, two)
	}
	if again := disturbed(t, d, 0, at(20)); again != one {
		t.Errorf("takes %v times as long when the series begins again, want %v", again, one)
	}
	for _, tc := range []struct{ file, want string }{
		{"", "no header"},
		{"test,vm_sku\n", "line 1: column lifespan"},
		{strings.Replace(file, "0.5", "-1", 1), "line 2: rel_speed"},
		{strings.Replace(file, "0.5", "NaN", 1), "line 2: rel_speed"},
		{strings.Replace(file, "short", "brief", 1), "line 2: lifespan"},
		{strings.ReplaceAll(file, "a,s", "a,x"), "no line"},
	} {
		if _, err := sim.ReadSpeeds("f", strings.NewReader(tc.file), "a", "s"); err == nil || !strings.Contains(err.Error(), "f: "+tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// FuzzReadSpeeds never panics.
func FuzzReadSpeeds(f *testing.F) {
	f.Add("test,vm_sku,region,lifespan,vm_id,rel_speed\na,s,r,long,1,0.5\n")
	f.Fuzz(func(t *testing.T, file string) {
		if s, err := sim.ReadSpeeds("f", strings.NewReader(file), "a", "s"); err == nil {
			disturbedOnce(t, sim.MeasuredSpeeds(s, ms))
		}
	})
}

func disturbedOnce(t *testing.T, d sim.Disturbance) {
	serve, err := d(func(sim.Execution) sim.Outcome { return sim.Outcome{Took: ms} },
		sim.Setting{Workers: make([]pool.Worker, 1), Rng: workload.Stream(1, "test")})
	if err != nil {
		t.Fatal(err)
	}
	if took := serve(sim.Execution{At: at(5)}).Took; took < 0 {
		t.Fatalf("takes %v", took)
	}
}

// TestAzureSpeeds holds the spread of what workers get against the summary of
// the whole data set: redis on D8s_v5 has a standard deviation of 8.7 % at
// most.
func TestAzureSpeeds(t *testing.T) {
	f, err := os.Open("../../../shared/data/azure_vm_noise/relative_speed_sampled.csv")
	if err != nil {
		t.Skipf("NOT CHECKED against Azure's speeds: %v", err)
	}
	defer f.Close()
	s, err := sim.ReadSpeeds("speeds", f, "redis_get", "D8s_v5")
	if err != nil {
		t.Fatal(err)
	}
	const workers = 2000
	set := sim.Setting{Workers: make([]pool.Worker, workers), Rng: workload.Stream(3, "test")}
	serve, err := sim.MeasuredSpeeds(s, time.Minute)(func(sim.Execution) sim.Outcome { return sim.Outcome{Took: time.Second} }, set)
	if err != nil {
		t.Fatal(err)
	}
	sum, squares := 0.0, 0.0
	for w := range pool.WorkerID(workers) {
		x := serve(sim.Execution{Worker: w}).Took.Seconds()
		sum, squares = sum+x/workers, squares+x*x/workers
	}
	sd := math.Sqrt(squares - sum*sum)
	if math.Abs(sum-1) > 0.03 || sd < 0.04 || sd > 0.2 {
		t.Errorf("executions take %.3f ± %.3f times as long on different workers", sum, sd)
	}
	t.Logf("executions take %.3f ± %.3f times as long", sum, sd)
}
