package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

func TestPriced(t *testing.T) {
	prices := []pool.Price{{InstanceType: "a", USDPerHour: 0.5}, {InstanceType: "b"}}
	types, err := priced(prices, "f", []string{"b", "a"})
	if err != nil || fmt.Sprint(types) != fmt.Sprint([]pool.InstanceType{{Name: "b"}, {Name: "a", USDPerHour: 0.5}}) {
		t.Errorf("%v, %v", types, err)
	}
	if _, err := priced(prices, "f", []string{"c"}); err == nil || !strings.Contains(err.Error(), `f: no price of instance type "c"`) {
		t.Errorf("%v", err)
	}
}

func disturbed(t *testing.T, d Disturb) (*Setup, error) {
	t.Helper()
	s := &Setup{Types: []pool.InstanceType{{Name: "gpu"}, {Name: "cpu"}}}
	return s, d.apply(s, []int{1, 2})
}

func TestDisturb(t *testing.T) {
	s, err := disturbed(t, Disturb{
		Noise: "0.1", Slow: []string{"gpu,factor=1.2", "cpu,factor=3,from=1s,to=2s"}, Drift: []string{"gpu,per-hour=-0.5"},
		Outages: []string{"cpu-1,from=10s,to=20s,notice=500ms", "gpu-0"}, Round: time.Millisecond,
	})
	if err != nil || len(s.Disturb) != 5 {
		t.Fatalf("%d disturbances, %v", len(s.Disturb), err)
	}
	want := []sim.Outage{
		{Worker: 2, From: mono.Time(10 * time.Second), To: mono.Time(20 * time.Second), Notice: 500 * time.Millisecond}, {Worker: 0, To: mono.Never},
	}
	if fmt.Sprint(s.Outages) != fmt.Sprint(want) {
		t.Errorf("%+v", s.Outages)
	}
	for _, c := range []struct {
		d    Disturb
		want string
	}{
		{Disturb{Noise: "x"}, "-noise"}, {Disturb{Noise: "-1"}, "-noise"}, {Disturb{Noise: "normal:NaN"}, "-noise"},
		{Disturb{Slow: []string{""}}, "-slow"}, {Disturb{Slow: []string{"tpu,factor=2"}}, `-slow: "tpu"`}, {Disturb{Slow: []string{"gpu,factor=0"}}, "factor"},
		{Disturb{Slow: []string{"gpu,factor=2,from=2s,to=1s"}}, "after from"}, {Disturb{Slow: []string{"gpu,factor=2,factor=3"}}, "twice"},
		{Disturb{Slow: []string{"gpu,by=2"}}, "want factor"}, {Disturb{Slow: []string{"gpu,factor=NaN"}}, "factor"},
		{Disturb{Drift: []string{"cpu,per-hour=x"}}, "-drift: per-hour"}, {Disturb{Drift: []string{"x,per-hour=1"}}, "-drift"},
		{Disturb{Outages: []string{"cpu-2"}}, "there are gpu-0, cpu-0, cpu-1"}, {Disturb{Outages: []string{"cpu-0,from=-1s"}}, "from"},
		{Disturb{Outages: []string{"cpu-0,notice=soon"}}, "notice"}, {Disturb{Round: -1}, "-round"},
		{Disturb{Speeds: "test=a"}, "-speeds"}, {Disturb{Speeds: "f,test=a,sku=b,every=x"}, "every"},
	} {
		_, err := disturbed(t, c.d)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.d, err, c.want)
		}
	}
	if _, err := disturbed(t, Disturb{Speeds: "nowhere.csv,test=a,sku=b"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestSpeedsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "speeds.csv")
	if err := os.WriteFile(name, []byte("test,vm_sku,region,lifespan,vm_id,hours_since_first,rel_speed\na,b,r,short,1,0,1.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := disturbed(t, Disturb{Speeds: name + ",test=a,sku=b,every=1s"})
	if err != nil || len(s.Disturb) != 1 {
		t.Errorf("%d disturbances, %v", len(s.Disturb), err)
	}
	if _, err := disturbed(t, Disturb{Speeds: name + ",test=a,sku=c"}); err == nil || !strings.Contains(err.Error(), "speeds.csv") {
		t.Errorf("%v", err)
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("gpu,factor=1.2,from=10s,to=20s")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseSpec(text, "factor", "from", "to")
		if err != nil {
			return
		}
		if p.first == "" || len(p.values) > 3 {
			t.Errorf("%q: %+v", text, p)
		}
		if v, err := p.number("factor", 1, 0, 10); err == nil && !(v >= 0 && v <= 10) {
			t.Errorf("%q: factor %v", text, v)
		}
		if from, to, err := p.span(); err == nil && (from < 0 || to <= from) {
			t.Errorf("%q: from %v to %v", text, from, to)
		}
	})
}

func TestVariants(t *testing.T) {
	v, err := NewVariant("clockwork", true, true)
	if err != nil || v.Name != "clockwork, no merging, no drop" || !v.Alone {
		t.Errorf("%+v, %v", v, err)
	}
	if traits := v.New(1).Traits(); !traits.Late || traits.Plans {
		t.Errorf("no drop: %+v", traits)
	}
	if _, err := NewVariant("best", false, false); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), `-policy: unknown policy "best"`) {
		t.Errorf("%v", err)
	}
	for _, k := range ingredients {
		if k.switched == (ingredients[0].switched) && k.name != ingredients[0].name {
			t.Errorf("%s and %s switch the same off", k.name, ingredients[0].name)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	for _, c := range []struct {
		rows []float64
		want string
	}{{nil, "[]\n"}, {[]float64{1}, "[1]\n"}, {[]float64{1, 2, 3}, "[1,\n 2,\n 3]\n"}} {
		var out bytes.Buffer
		if err := writeJSON(&out, c.rows); err != nil || out.String() != c.want {
			t.Errorf("%v: %q, %v", c.rows, &out, err)
		}
	}
	if err := writeJSON(io.Discard, []float64{math.NaN()}); err == nil {
		t.Error("NaN was written")
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, time.Second)
	now := time.Unix(0, 0)
	p.now = func() time.Time { return now }
	p.mu.last = now
	for _, step := range []time.Duration{500 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond, 100 * time.Millisecond} {
		now = now.Add(step)
		p.Say("at %v", now.Sub(time.Unix(0, 0)))
	}
	if out.String() != "at 1.1s\nat 2.1s\n" {
		t.Errorf("%q", &out)
	}
	(*Progress)(nil).Say("nothing")
}

func TestParallel(t *testing.T) {
	squares := make([]int, 100)
	if err := parallel(len(squares), func(i int) error {
		squares[i] = i * i
		return nil
	}); err != nil || squares[99] != 9801 || squares[0] != 0 {
		t.Errorf("%v, %v", squares, err)
	}
	calls := 0
	err := parallel(1, func(int) error {
		calls++
		return errors.New("first")
	})
	if err == nil || err.Error() != "first" || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := parallel(0, nil); err != nil {
		t.Error(err)
	}
}
