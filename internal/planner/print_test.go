package planner

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

// printable is a problem with much to say about its plan: the current mix, a
// rate, spot instances, and sizes of which cpu runs the large ones in parts.
func printable() *Problem {
	return &Problem{
		Types: []Type{
			{Name: "gpu", USDPerHour: 0.5, SpotUSDPerHour: 0.2, Interruptions: 0.1, Recovery: 5 * time.Minute}, {Name: "cpu", USDPerHour: 0.1},
		},
		Models: []Model{{Name: "m", Sizes: []int{10, 100, 200}, P: []float64{0.8, 0.1, 0.1}, QoS: 50 * time.Millisecond}},
		Latency: func(_, typ, items int) (mean, bound time.Duration) {
			d := time.Duration([]int{2000, 500}[typ]+[]int{50, 400}[typ]*items) * time.Microsecond
			return d, d
		},
		Budget: 2, Rate: 1000, OnDemandShare: 0.5, Candidates: 3,
		Current: []Count{{OnDemand: 1}, {OnDemand: 1}},
		Verify: func(trials []Trial) ([]float64, error) {
			rates := make([]float64, len(trials))
			for i, trial := range trials {
				rates[i] = 0.9 * trial.Near
			}
			return rates, nil
		},
	}
}

// says fails where the printed plan does not match all of the patterns, or
// matches one of those that begin with !.
func says(t *testing.T, p *Problem, patterns ...string) {
	t.Helper()
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := plan.Print(&out, p); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range patterns {
		want, not := strings.CutPrefix(pattern, "!")
		if regexp.MustCompile("(?m)"+want).MatchString(out.String()) == not {
			t.Errorf("it says what does not match %s:\n%s", pattern, &out)
		}
	}
}

// TestPrint: the plan says, for people, what it knows.
func TestPrint(t *testing.T) {
	p := printable()
	says(t, p,
		`^place  mix +USD/h +requests/s +as +estimate +bound: one by one +with misses +KAIROS UB +batching +merged$`,
		`^1 +\S+=\d\S* +\d\S* +\d\S* +measured( +\d\S*){6}$`,
		`^now +gpu=1,cpu=1 +0\.6 +\d\S* +measured`,
		`^The best carries \d\S* % more than is asked for\.$`,
		`^[\d.]+ × gpu serve \d\S* % of m \(\d+ to \d+ items, in batches of up to \d+\), busy \d+ % of the time\. One more would add \d\S* requests/s, \d\S* per USD\.$`,
		`^Add next: one gpu:spot \(0\.2 USD/h\), for about \d\S* requests/s more\.$`,
		`^A further USD per hour would buy about \d\S* requests/s\.$`,
		`^The current pool costs 0\.6 USD/h and carries \d\S* requests/s: place \d+ of \d+\. The best carries \d\S* times as many requests per USD\.$`,
		`^Ranked \d+ mixes \(among them all that cost little more .*\) and measured 3, which reached \d\S* % of their estimates\. Counts in fractions would reach \d\S* requests/s by estimate\.$`,
		`!in parts`,
	)
	// Nothing of a rate or a current mix where there is none, nor of figures.
	p = printable()
	p.Rate, p.Current, p.Verify = 0, nil, nil
	says(t, p, `^1 +\S+ +\S+ +\d\S* +estimated`, `\(all that nothing can be added to\) and measured none\.`, `!^now`, `!current`, `!asked for`, `!measured \d`)
	// A current pool that cannot serve all sizes.
	p = printable()
	p.Current = []Count{{}, {OnDemand: 1}}
	says(t, p, `^now +cpu=1 +0\.1 +0 +measured +0 +- +- +-`, `^The current pool costs 0\.1 USD/h and cannot keep the QoS at any rate\.$`)
	// Bounds of requests one by one do not apply where only parts fit.
	p = printable()
	p.Rate, p.Types, p.Current, p.OnDemandShare = 0, []Type{{Name: "cpu", USDPerHour: 0.1, Limit: 3}}, nil, 0
	p.Latency = func(_, _, items int) (mean, bound time.Duration) {
		d := time.Duration(500+400*items) * time.Microsecond // 123 items
		return d, d
	}
	p.Models[0].Split = true
	says(t, p,
		`^1 +cpu=3 +0\.3 +\S+ +measured +\S+ +- +- +- +\d\S* +\d`,
		`^3 × cpu serve \d\S* % of m \(10 to 200 items, from 200 on in parts, `,
		`^Add next: nothing, all types are at their limits\.$`,
	)
	p.Models[0].Sizes, p.Models[0].P, p.Models[0].MaxBatch = []int{150, 200}, []float64{1, 1}, 100
	says(t, p, `of m \(150 to 200 items, in parts, `)
}

func TestPrintFails(t *testing.T) {
	p := printable()
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Print(full{}, p); err == nil {
		t.Error("a writer that fails is not noticed")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestMixText(t *testing.T) {
	types := printable().Types
	for _, c := range []struct {
		mix  []Count
		want string
	}{
		{[]Count{{OnDemand: 1, Spot: 2}, {}}, "gpu=1,gpu:spot=2"},
		{[]Count{{}, {OnDemand: 3}}, "cpu=3"},
		{[]Count{{}, {}}, ""},
	} {
		if got := MixText(types, c.mix); got != c.want {
			t.Errorf("%v is written %q, want %q", c.mix, got, c.want)
		}
	}
}

// TestRecords: what machines are told is the plan.
func TestRecords(t *testing.T) {
	p := printable()
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	records := plan.Records(p)
	if len(records) != 2+len(plan.Others) {
		t.Fatalf("%d records of %d others", len(records), len(plan.Others))
	}
	for i, r := range records {
		role, rank, c := "other", i+1, (*Candidate)(nil)
		switch i {
		case 0:
			role, c = "best", &plan.Best
		case len(records) - 1:
			role, rank, c = "current", plan.Rank, &plan.Current
		default:
			c = &plan.Others[i-1]
		}
		if r.Role != role || r.Rank != rank || r.Of != c || r.Mix != MixText(p.Types, c.Mix) || (r.Why != nil) != (i == 0) ||
			r.AllowableQPS == nil || *r.AllowableQPS != r.GoodputQPS || r.GoodputQPS != Round(c.Goodput, 4) {
			t.Errorf("%d: %+v of %+v", i, r, *c)
		}
	}
	why := records[0].Why
	if why.Headroom == nil || *why.Headroom != Round(plan.Headroom, 6) || why.Next == nil || !why.Next.Spot || len(why.Uses) != len(plan.Uses) ||
		len(why.Uses[0].Serves) == 0 || why.Uses[0].Serves[0].Model != "m" || why.Measured != 3 {
		t.Errorf("%+v", *why)
	}
	p.Verify, p.Current, p.Rate = nil, nil, 0
	if plan, err = Solve(p); err != nil {
		t.Fatal(err)
	}
	records = plan.Records(p)
	line, err := json.Marshal(records[0])
	if err != nil || !strings.Contains(string(line), `"allowable_qps":null`) || strings.Contains(string(line), "headroom") {
		t.Errorf("%v: %s", err, line)
	}
	if last := records[len(records)-1]; last.Role == "current" {
		t.Errorf("there is no current mix: %+v", last)
	}
}
