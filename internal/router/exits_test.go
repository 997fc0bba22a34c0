package router

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/promtest"
)

// withRamps gives model adder three ramps and a report, and model raw a report
// of a controller that has seen nothing.
func withRamps(cfg *Config) {
	cfg.Models[0].Ramps = func() (int, []float64) { return 3, []float64{.15, .34, 2. / 3} }
	cfg.Models[0].Exits = func() (earlyexit.Report, bool) {
		return earlyexit.Report{
			Mode: earlyexit.Compute, Target: .99, Tau: .0625, Safe: true, Alarms: 2,
			Seen: 1000, Exited: 700, Audited: 90, Lost: 3, Disagreed: 5.5, Bound: 12.25,
			Agreement: .9945, Low95: .989, Certified: .02,
			Ramps: []earlyexit.RampReport{
				{Active: true, Seen: 1000, Exited: 400, Audited: 50, Disagreed: 4},
				{},
				{Active: true, Seen: 600, Exited: 300, Audited: 40, Disagreed: 1.5},
			},
			Classes: []earlyexit.ClassReport{{Seen: 60, Exited: 50, Disagreed: 1}, {Seen: 30, Exited: 20, Disagreed: 4.5}},
		}, true
	}
	cfg.Models[1].Exits = func() (earlyexit.Report, bool) {
		return earlyexit.Report{Target: .99, Tau: math.NaN(), Agreement: 1, Certified: 1, Ramps: make([]earlyexit.RampReport, 1)}, true
	}
	meta := *adderMetadata
	meta.Properties = map[string]string{"engine": "x", "ee_ramps": "9", "ee_depth": "0.5", "ee_other": "y"}
	cfg.Models[0].Info = func() ModelInfo {
		return ModelInfo{Metadata: &meta, Batched: true, MaxBatch: 8, Classes: 10}
	}
	cfg.Models[2].Exits = func() (earlyexit.Report, bool) { return earlyexit.Report{}, false }
}

func TestGoldenExits(t *testing.T) {
	playFiles(t, "testdata/exits/*.txt", withRamps, (*fixture).play)
}

// What a request says of early exit is what the loop is told, and is never
// more than it may be.
func TestExitParameters(t *testing.T) {
	const off, latency, compute = earlyexit.Off, earlyexit.Latency, earlyexit.Compute
	none := oip.ExitParams{MaxDisagreement: -1}
	with := func(change func(*oip.ExitParams)) oip.ExitParams {
		p := none
		change(&p)
		return p
	}
	mode := func(m string) oip.ExitParams { return with(func(p *oip.ExitParams) { p.Mode = []byte(m) }) }
	most := func(v float64) oip.ExitParams { return with(func(p *oip.ExitParams) { p.MaxDisagreement = v }) }
	ramps := func(set uint32) oip.ExitParams {
		return with(func(p *oip.ExitParams) { p.Ramps, p.RampsGiven = set, true })
	}
	audited := func(m string) oip.ExitParams {
		return with(func(p *oip.ExitParams) { p.Mode, p.Audit = []byte(m), true })
	}
	for _, c := range []struct {
		name   string
		params oip.ExitParams
		ramps  int // of the model
		stream bool
		mode   earlyexit.Mode
		most   float64
		set    uint32
		err    string
	}{
		{name: "nothing said", params: none, ramps: 3, mode: compute},
		{name: "nothing said, no ramps", params: none, mode: compute},
		{name: "off", params: mode("off"), ramps: 3, mode: off},
		{name: "latency", params: mode("latency"), ramps: 3, mode: latency},
		{name: "compute", params: mode("compute"), ramps: 3, mode: compute},
		{name: "unknown mode", params: mode("fast"), ramps: 3, err: `'ee_mode': must be off, latency or compute, got "fast"`},
		{name: "empty mode", params: mode(""), ramps: 3, err: "'ee_mode'"},
		{name: "disagreement", params: most(.25), ramps: 3, mode: compute, most: .25},
		{name: "any disagreement", params: most(1), ramps: 3, mode: compute, most: 1},
		{name: "no disagreement", params: most(0), ramps: 3, mode: off},
		{name: "negative", params: most(-.5), err: "'ee_max_disagreement': must be a number from 0 to 1"},
		{name: "above 1", params: most(1.01), err: "'ee_max_disagreement'"},
		{name: "not a number", params: most(math.NaN()), err: "'ee_max_disagreement'"},
		{name: "audited", params: with(func(p *oip.ExitParams) { p.Audit = true }), ramps: 3, mode: latency},
		{name: "audited, compute", params: audited("compute"), ramps: 3, mode: latency},
		{name: "audited, off", params: audited("off"), ramps: 3, mode: off},
		{name: "ramps mean nothing without a stream", params: ramps(5), ramps: 3, mode: compute},
		{name: "stream", params: none, ramps: 3, stream: true, mode: off, set: 7},
		{name: "stream, all the ramps there can be", params: none, ramps: 32, stream: true, mode: off, set: math.MaxUint32},
		{name: "stream, some ramps", params: ramps(5), ramps: 3, stream: true, mode: off, set: 5},
		{name: "stream, no ramps wanted", params: ramps(0), ramps: 3, stream: true, mode: off},
		{name: "stream, a ramp too many", params: ramps(8), ramps: 3, stream: true, err: "model 'adder' has no ramp 3, its ramps are 0 to 2"},
		{name: "stream, no ramps there", params: ramps(8), stream: true, mode: off},
		{name: "stream, compute", params: mode("compute"), ramps: 3, stream: true, mode: compute, set: 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &exchange{model: &model{Model: Model{Name: "adder", Ramps: func() (int, []float64) { return c.ramps, nil }}}}
			x.target.endpoint = modelInfer
			if c.stream {
				x.target.endpoint = modelStream
			}
			x.head.Exits = c.params
			err := x.exits()
			var protocol *oip.Error
			if c.err != "" {
				if !errors.As(err, &protocol) || protocol.Status != 400 || !strings.Contains(protocol.Message, c.err) {
					t.Errorf("error %v, want 400 with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if x.call.Mode != c.mode || x.call.Most != c.most || x.call.Ramps != c.set || x.call.Call.Mark != (c.ramps > 0) {
				t.Errorf("mode %v, most %v, ramps %b, mark %v; want %v, %v, %b", x.call.Mode, x.call.Most, x.call.Ramps, x.call.Call.Mark,
					c.mode, c.most, c.set)
			}
		})
	}
}

func TestExitMetrics(t *testing.T) {
	f := newFixture(t, withRamps)
	for _, exit := range []int{0, 2, 2, 3, -1} {
		f.loop.set(func(r *live.Request) error {
			r.Exit = exit
			return answerWith(jsonAnswer, -1)(r)
		})
		if res := f.do("POST", "/v2/models/adder/infer", validInfer); res.status != 200 {
			t.Fatalf("status %d %s", res.status, res.body)
		}
	}
	text := string(f.admin("GET", "/metrics").body)
	for _, want := range []string{
		`motley_exit_target_agreement{model="adder"} 0.99`,
		`motley_exit_tau{model="adder"} 0.0625`,
		`motley_exit_agreement{model="adder"} 0.9945`,
		`motley_exit_agreement_low95{model="adder"} 0.989`,
		`motley_exit_certified_disagreement{model="adder"} 0.02`,
		`motley_exit_safe{model="adder"} 1`,
		`motley_exit_alarms_total{model="adder"} 2`,
		`motley_exit_lost_audits_total{model="adder"} 3`,
		`motley_exit_ramp_active{model="adder",ramp="1"} 0`,
		`motley_exit_ramp_active{model="adder",ramp="2"} 1`,
		`motley_exit_rows_seen_total{model="adder",ramp="0"} 1000`,
		`motley_exit_rows_exited_total{model="adder",ramp="2"} 300`,
		`motley_exit_rows_audited_total{model="adder",ramp="2"} 40`,
		`motley_exit_rows_disagreed_total{model="adder",ramp="2"} 1.5`,
		`motley_exit_request_duration_seconds_count{answer="early",model="adder"} 3`,
		`motley_exit_request_duration_seconds_count{answer="full",model="adder"} 1`,
		`motley_exit_agreement{model="raw"} 1`,
		`motley_exit_rows_seen_total{model="raw",ramp="0"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, never := range []string{`motley_exit_tau{model="raw"}`, `motley_exit_agreement{model="quiet"}`, "NaN"} {
		if strings.Contains(text, never) {
			t.Errorf("/metrics has %s", never)
		}
	}
	promtest.Check(t, text, "")
}

// Where the controllers stand, of the models that have one.
func TestDebugExits(t *testing.T) {
	want, err := os.ReadFile("testdata/debug_exits.json")
	if err != nil {
		t.Fatal(err)
	}
	if res := newFixture(t, withRamps).admin("GET", "/debug/exits"); string(res.body)+"\n" != string(want) {
		t.Errorf("got %s\nwant %s", res.body, want)
	}
}

func cascade(_ context.Context, r *live.Request) error {
	if r.Show != nil {
		r.Show(0, oip.Message{Body: []byte(`{"small":1}`), HeadLength: -1})
	}
	return answerWith(jsonAnswer, -1)(r)
}

// A cascade takes the place of the loop.
func TestModelRunsItself(t *testing.T) {
	f := newFixture(t, func(cfg *Config) {
		withRamps(cfg)
		cfg.Models[0].Do = cascade
	})
	f.loop.set(func(*live.Request) error { return errors.New("the loop was asked") })
	if res := f.do("POST", "/v2/models/adder/infer", validInfer); res.status != 200 || string(res.body) != jsonAnswer {
		t.Errorf("infer: status %d %s", res.status, res.body)
	}
	res := f.do("POST", "/v2/models/adder/infer_stream", validInfer, "x-request-id: r")
	if want := "event: ramp\nid: r\ndata: {\"small\":1}\n\nevent: final\nid: r\ndata: " + jsonAnswer + "\n\n"; string(res.body) != want {
		t.Errorf("infer_stream: status %d %q, want %q", res.status, res.body, want)
	}
}
