package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"motley/internal/config"
	"motley/internal/planner"
	"motley/internal/pool"
)

// planned loads a configuration from text, in a directory with the profiles of
// KAIROS, and plans with little effort.
func planned(t *testing.T, text string, opt PlanOptions) (string, error) {
	t.Helper()
	dir := t.TempDir()
	rows, err := os.ReadFile("../../configs/profiles/kairos.csv")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"kairos.csv": rows, "router.yaml": []byte(text)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return run(cfg, opt)
}

func run(cfg *config.Config, opt PlanOptions) (string, error) {
	cfg.Plan.Requests = 400
	var b bytes.Buffer
	err := Plan(cfg, opt, &b)
	return b.String(), err
}

func hetero(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load("../../configs/hetero.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestPlanReport(t *testing.T) {
	text, err := run(hetero(t), PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`^The most requests within 2\.5 USD/h\n`,
		`wnd: 100 % of the requests, 25ms for 99 % of them, sizes kairos`,
		`place +mix +USD/h +requests/s +as +estimate +bound: one by one`,
		`\n1 +\S+=\d\S* +[012]\.\d+ +\d\S* +measured +\d`,
		`\nnow +g4dn\.xlarge=2,r5n\.large=4,c5n\.2xlarge=1 +2\.08 +\d`,
		`\n\d+ × g4dn\.xlarge serve \d\S* % of wnd \(\d+ to \d+ items, in batches of up to \d+\), busy 100 % of the time\. One more would add \d`,
		`\nAdd next: one \S+ \(0\.\d+ USD/h\), for about \d\S* requests/s more\.`,
		`\nA further USD per hour would buy about \d\S* requests/s\.`,
		`\nThe current pool costs 2\.08 USD/h and carries \d\S* requests/s: place \d+ of 126\. The best carries \d\S* times`,
		`\nRanked 126 mixes \(all that nothing can be added to, and the current one\) and measured 20,`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the report does not say %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "were not told") {
		t.Errorf("sizes were told:\n%s", text)
	}
	again, err := run(hetero(t), PlanOptions{})
	if err != nil || again != text {
		t.Errorf("another report for the same configuration (%v):\n%s\n%s", err, text, again)
	}
}

// records reads what -json printed.
func records(t *testing.T, text string) []planRecord {
	t.Helper()
	var all []planRecord
	in := json.NewDecoder(strings.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&all); err != nil || in.More() || len(all) < 2 {
		t.Fatalf("not one array of records (%v):\n%s", err, text)
	}
	if all[0].Why == nil || all[1].Why != nil {
		t.Fatalf("reasons are given with the best:\n%s", text)
	}
	return all
}

func TestPlanJSON(t *testing.T) {
	text, err := run(hetero(t), PlanOptions{Budget: 1.5, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	var plain []map[string]any
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"model", "mix", "policy", "arrivals", "qos_ms", "percentile", "rate_qps", "qos_ok",
		"allowable_qps", "p50_ms", "p99_ms", "cost_usd_h", "bounds"} {
		if _, ok := plain[0][key]; !ok {
			t.Errorf("there is no %s in %v", key, plain[0])
		}
	}
	for _, key := range []string{"kairos_ub", "lp", "lp_shed", "batching"} {
		if v, ok := plain[0]["bounds"].(map[string]any)[key].(float64); !ok || v <= 0 {
			t.Errorf("the bound %s is %v", key, v)
		}
	}
	all := records(t, text)
	best, current := all[0], all[len(all)-1]
	if best.Role != "best" || best.Rank != 1 || best.CostUSDH > 1.5 || best.QoSMS != 25 || best.Percentile != 99 || best.Model != "wnd" {
		t.Errorf("best: %+v", best)
	}
	if best.QoSOK < 0.99 || best.P99MS > 25 || best.AllowableQPS == nil || best.RateQPS != *best.AllowableQPS || best.RateQPS > best.Bounds.Merged {
		t.Errorf("best: %+v", best)
	}
	if len(best.Why.Uses) == 0 || best.Why.Next == nil || best.Why.QPSPerUSDH <= 0 || best.Why.RelaxedQPS < best.EstimateQPS {
		t.Errorf("best has no reasons: %+v", best)
	}
	if current.Role != "current" || current.Mix != "g4dn.xlarge=2,r5n.large=4,c5n.2xlarge=1" || current.CostUSDH != 2.08 {
		t.Errorf("current: %+v", current)
	}
}

func TestPlanRate(t *testing.T) {
	text, err := run(hetero(t), PlanOptions{Rate: 200, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	best := records(t, text)[0]
	if best.GoodputQPS < 200 || best.CostUSDH > 2 || best.Why.Headroom == nil || *best.Why.Headroom < 0 || best.Why.RequiredQPS != 200 {
		t.Errorf("%+v", best)
	}
	text, err = run(hetero(t), PlanOptions{Rate: 200})
	if err != nil || !strings.HasPrefix(text, "The cheapest mix for 200 requests/s within 2.5 USD/h\n") || !strings.Contains(text, "% more than is asked for.") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := run(hetero(t), PlanOptions{Rate: 1e6}); err == nil || !strings.Contains(err.Error(), "carries Rate") {
		t.Errorf("a rate that nothing carries: %v", err)
	}
}

// TestPlanAgainstAll holds the pick to a simulation of every mix.
func TestPlanAgainstAll(t *testing.T) {
	cfg := hetero(t)
	cfg.Plan.Requests = 1000
	s, err := newStudy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.problem(PlanOptions{Budget: 1.8})
	if err != nil {
		t.Fatal(err)
	}
	p.Finals, p.Candidates = 0, 12
	plan, err := planner.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	p.Candidates = 1000
	all, err := planner.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if all.Measured < 2*plan.Measured || plan.Best.Goodput < 0.98*all.Best.Goodput {
		t.Errorf("of %d mixes %v carries most, %v; of all %d %v, %v", plan.Measured, plan.Best.Mix, plan.Best.Goodput,
			all.Measured, all.Best.Mix, all.Best.Goodput)
	}
}

const twoModels = `
models:
  - {name: a, qos: {target: 25ms}}
  - {name: ncf, qos: {target: 5ms, percentile: 95}}
instance_types:
  - {name: g4dn.xlarge, usd_per_hour: 0.526, min: 1}
  - {name: r5n.large, usd_per_hour: 0.149, spot_usd_per_hour: 0.05, interruptions_per_hour: 0.1}
profiles: [kairos.csv]
workers:
  - {name: g, type: g4dn.xlarge, models: [a], emulated: {profile_model: wnd}}
  - {name: h, type: g4dn.xlarge, models: [ncf], emulated: {profile_model: ncf}}
plan:
  on_demand_share: 0.6
  demand:
    - {model: a, share: 3, sizes: "lognormal:mu=5.1,sigma=0.2,max=1000"}
`

func TestPlanTwoModels(t *testing.T) {
	text, err := planned(t, twoModels, PlanOptions{JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	all := records(t, text)
	best := all[0]
	if best.Model != "a,ncf" || best.QoSMS != 0 || best.Percentile != 0 || len(best.Models) != 2 || best.Models[0].Share != 0.75 ||
		best.Models[0].QoSOK < 0.99 || best.Models[1].QoSOK < 0.95 {
		t.Errorf("%+v", best)
	}
	if best.Why.BudgetUSDH != 1.052 || best.CostUSDH > 1.052 || !strings.Contains(best.Mix, "r5n.large:spot=") {
		t.Errorf("the budget is that of the pool, and spot instances pay: %+v", best)
	}
	text, err = planned(t, twoModels, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"within 1.052 USD/h, 60 % of it on demand", "a: 75 % of the requests, 25ms for 99 % of them, sizes lognormal:mu=5.1",
		"The sizes of ncf were not told: one item per request is assumed.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
}

// TestPlanLearned plans with profiles that a router saved, and nothing else.
func TestPlanLearned(t *testing.T) {
	cfg := hetero(t)
	var all []pool.Learned
	for _, ty := range []string{"g4dn.xlarge", "r5n.large"} {
		p, err := pool.NewProfile(cfg.Points("wnd", ty))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pool.Learned{Model: "wnd", InstanceType: ty, Profile: p})
	}
	var saved bytes.Buffer
	if err := pool.SaveProfiles(&saved, all); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "saved.jsonl")
	if err := os.WriteFile(name, saved.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
models: [{name: wnd, qos: {target: 25ms}}]
instance_types: [{name: g4dn.xlarge, usd_per_hour: 0.526}, {name: r5n.large, usd_per_hour: 0.149}]
workers: [{name: g, type: g4dn.xlarge, remote: {url: "http://127.0.0.1:1"}}]
plan: {budget: 1, learned: %q, demand: [{model: wnd, sizes: kairos}]}
`, name)
	out, err := planned(t, text, PlanOptions{JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	if best := records(t, out)[0]; best.GoodputQPS <= 0 || best.CostUSDH > 1 {
		t.Errorf("%+v", best)
	}
	if err := os.WriteFile(name, saved.Bytes()[:saved.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := planned(t, text, PlanOptions{}); err == nil || !strings.Contains(err.Error(), "plan.learned: "+name) {
		t.Errorf("half a file: %v", err)
	}
}

func TestPlanErrors(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"usd_per_hour: 0.149", "usd_per_hour: 0", "instance_types[1].usd_per_hour: r5n.large has no price"},
		{"name: r5n.large", "name: r5n.huge", "profiles: no measured latencies of model a on instance type r5n.huge (looked for the model as \"wnd\")"},
		{"sigma=0.2,max=1000", "sigma=2", "demand of model a: sizes lognormal:mu=5.1,sigma=2 go up to"},
		{"target: 25ms", "target: 2ms", "no type runs"},
		{"min: 1", "min: 10", "no mix of the types is within Budget"},
		{"profile_model: wnd", "profile_model: wnd, seed: 4", ""},
	} {
		text := strings.Replace(twoModels, c.from, c.to, 1)
		if c.to == "sigma=2" { // parts of requests have no largest size
			text += "policy: least-load\n"
		}
		if text == twoModels {
			t.Fatalf("%q is not in the configuration", c.from)
		}
		_, err := planned(t, text, PlanOptions{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.to, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "cannot plan: ") || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want it to say %q", c.to, err, c.want)
		}
	}
}
