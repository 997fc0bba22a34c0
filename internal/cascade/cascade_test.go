package cascade

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
)

// unsureOf is a small model that is unsure of rows of 10 and more, and says
// class x mod 3.
func unsureOf(x int64) []float64 {
	if x >= 10 {
		return about(int(x%3), 0.5)
	}
	return about(int(x%3), 0.9)
}

// large is sure of class x mod 3.
func large(x int64) []float64 { return about(int(x%3), 0.96) }

// rowsAsked is what each call asked, as text.
func (s *setting) rowsAsked() string {
	var all []string
	for _, c := range s.world.asked() {
		all = append(all, fmt.Sprintf("m%d%v", c.model, c.xs))
	}
	return strings.Join(all, " ")
}

func TestAnswers(t *testing.T) {
	overloaded := &live.Refusal{Reason: live.QueueFull}
	for _, c := range []struct {
		name   string
		models []*model
		change func(*setting, *Config)
		xs     []int64
		want   string
		asked  string
	}{
		{"sure", []*model{{say: unsureOf}, {say: large}}, nil, []int64{4},
			"exit 0 p1[1 3]=0.05,0.9,0.05 y1[1 1]=1", "m0[4]"},
		{"not sure", []*model{{say: unsureOf}, {say: large}}, nil, []int64{14},
			"exit 1 p1[1 3]=0.02,0.02,0.96 y1[1 1]=102", "m0[14] m1[14]"},
		{"some rows", []*model{{say: unsureOf}, {say: large}}, nil, []int64{10, 2, 12, 13, 4},
			"exit 1 p1[5 3]=0.02,0.96,0.02,0.05,0.05,0.9,0.96,0.02,0.02,0.02,0.96,0.02,0.05,0.9,0.05 y1[5 1]=101,2,100,101,1",
			"m0[10 2 12 13 4] m1[10 12 13]"},
		{"the controller wants no stage", []*model{{say: unsureOf}, {say: large}}, func(s *setting, _ *Config) { s.active = 0 }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"off", []*model{{say: unsureOf}, {say: large}}, func(s *setting, _ *Config) { s.mode = earlyexit.Off }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"no time to fall back", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) {
				s.latest = func(int, time.Duration) (time.Duration, bool) { return 0, false }
			}, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"the small one is refused", []*model{{say: unsureOf, fail: overloaded}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"the small one fails", []*model{{say: unsureOf, fail: &backend.Error{Class: backend.Server, Status: 502}}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"NaN", []*model{{say: func(x int64) []float64 { return []float64{math.NaN(), 1, 0} }}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"NaN from the reference", []*model{{say: unsureOf}, {say: func(x int64) []float64 { return []float64{0, 1, math.NaN()} }}}, nil, []int64{14},
			"exit 1 p1[1 3]=0,1,null y1[1 1]=99", "m0[14] m1[14]"},
		{"too few classes", []*model{{say: func(int64) []float64 { return []float64{1, 0} }}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"another datatype", []*model{{say: unsureOf, wide: true}, {say: large}}, nil, []int64{4},
			"exit 0 p1[1 3]=0.05,0.9,0.05 y1[1 1]=1", "m0[4]"},
		{"the small one has no label", []*model{{say: unsureOf}, {say: large}}, func(_ *setting, c *Config) { c.Stages[0].Label = "" }, []int64{4, 14},
			"exit 1 p1[2 3]=0.05,0.9,0.05,0.02,0.02,0.96 y1[2 1]=1,102", "m0[4 14] m1[14]"},
		{"no label is wanted", []*model{{say: unsureOf}, {say: large}}, func(_ *setting, c *Config) { c.Stages[1].Label = "" }, []int64{4, 14},
			"exit 1 p1[2 3]=0.05,0.9,0.05,0.02,0.02,0.96", "m0[4 14] m1[14]"},
		{"partial coverage", []*model{{say: unsureOf}, {say: func(x int64) []float64 { return append(about(2, 0.96), 0) }}},
			func(s *setting, c *Config) {
				c.Stages[0].Classes = []int{3, -1, 0}
				s.metadata(1, 4)
			}, []int64{3, 4, 5},
			"exit 1 p1[3 4]=0.05,0,0,0.9,0.02,0.02,0.96,0,0.9,0,0,0.05 y1[3 1]=3,102,0", "m0[3 4 5] m1[4]"},
		{"classes that the reference lacks", []*model{{say: unsureOf}, {say: large}},
			func(_ *setting, c *Config) { c.Stages[0].Classes = []int{0, 1, 3} }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"logits, where the reference gives probabilities", []*model{{say: func(x int64) []float64 { return []float64{7, 3, 3} }}, {say: large}},
			func(_ *setting, c *Config) { c.Stages[0].Logits = true }, []int64{4},
			"exit 0 p1[1 3]=0.9647,0.0177,0.0177 y1[1 1]=0", "m0[4]"},
		{"probabilities, where the reference gives logits", []*model{{say: func(x int64) []float64 { return []float64{0, 1, 0} }}, {say: large}},
			func(_ *setting, c *Config) { c.Stages[1].Logits = true }, []int64{4},
			"exit 0 p1[1 3]=-10000,0,-10000 y1[1 1]=1", "m0[4]"},
		{"three stages", []*model{{say: unsureOf}, {say: func(x int64) []float64 { return unsureOf(x - 10) }}, {say: large}}, nil, []int64{1, 11, 21},
			"exit 2 p2[3 3]=0.05,0.9,0.05,0.05,0.9,0.05,0.96,0.02,0.02 y2[3 1]=1,101,200", "m0[1 11 21] m1[11 21] m2[21]"},
		{"three stages, the second fails", []*model{{say: unsureOf}, {fail: overloaded}, {say: large}}, nil, []int64{1, 11, 21},
			"exit 2 p2[3 3]=0.05,0.9,0.05,0.02,0.02,0.96,0.96,0.02,0.02 y2[3 1]=1,202,200", "m0[1 11 21] m1[11 21] m2[11 21]"},
		{"a model that does not take what the reference takes", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) { s.models[0].info.Metadata.Inputs[0].Datatype = oip.FP32 }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"a model that does not batch", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) { s.models[0].info.Batched = false }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"JSON where binary was asked for", []*model{{say: unsureOf, rewrite: func(m *oip.Message) {
			*m = oip.Message{HeadLength: -1, Body: []byte(`{"model_name":"m0","outputs":[{"name":"p0","datatype":"FP32","shape":[1,3],"data":[[0.9,0.1,0]]},{"name":"y0","datatype":"INT64","shape":[1,1],"data":[7]}]}`)}
		}}, {say: large}}, nil, []int64{4},
			"exit 0 p1[1 3]=0.9,0.1,0 y1[1 1]=7", "m0[4]"},
		{"an answer that is none", []*model{{say: unsureOf, rewrite: func(m *oip.Message) { m.Body = m.Body[:9] }}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"an answer for too few rows", []*model{{say: unsureOf, rewrite: func(m *oip.Message) {
			*m = oip.Message{HeadLength: -1, Body: []byte(`{"model_name":"m0","outputs":[{"name":"p0","datatype":"FP32","shape":[1,3],"data":[0.9,0.1,0]},{"name":"y0","datatype":"INT64","shape":[1,1],"data":[7]}]}`)}
		}}, {say: large}}, nil, []int64{4, 5},
			"exit 1 p1[2 3]=0.02,0.96,0.02,0.02,0.02,0.96 y1[2 1]=101,102", "m0[4 5] m1[4 5]"},
		{"an answer that lacks the label", []*model{{say: unsureOf, rewrite: func(m *oip.Message) {
			*m = oip.Message{HeadLength: -1, Body: []byte(`{"model_name":"m0","outputs":[{"name":"p0","datatype":"FP32","shape":[1,3],"data":[0.9,0.1,0]}]}`)}
		}}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"the small one's worker is misused", []*model{{say: unsureOf, fail: &backend.Error{Class: backend.Client, Status: 500}}, {say: large}}, nil, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m0[4] m1[4]"},
		{"metadata that lack the small one's outputs", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) {
				m := s.models[0].info.Metadata
				m.Outputs = m.Outputs[2:]
			}, []int64{4},
			"exit 0 p1[1 3]=0.05,0.9,0.05 y1[1 1]=1", "m0[4]"},
		{"metadata that leave the classes open", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) { s.models[1].info.Metadata.Outputs[0].Shape[1] = -1 }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"metadata that do not tell the form", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) { s.models[1].info.Metadata.Outputs = nil }, []int64{4},
			"exit 1 p1[1 3]=0.02,0.96,0.02 y1[1 1]=101", "m1[4]"},
		{"metadata that tell another form", []*model{{say: unsureOf}, {say: large}},
			func(s *setting, _ *Config) { s.models[1].info.Metadata.Outputs[1].Datatype = oip.Int32 }, []int64{4, 14},
			"exit 1 p1[2 3]=0.02,0.96,0.02,0.02,0.02,0.96 y1[2 1]=101,102", "m0[4 14] m1[14] m1[4]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := begin(t, c.change, c.models...)
			if got := s.do(request(t, c.xs...)).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			s.end()
			var calls []string // without the audits
			for _, k := range s.world.asked() {
				if k.priority != lowest {
					calls = append(calls, fmt.Sprintf("m%d%v", k.model, k.xs))
				}
				if k.priority != lowest && k.priority != 3 {
					t.Errorf("priority %d", k.priority)
				}
			}
			if got := strings.Join(calls, " "); got != c.asked {
				t.Errorf("asked %s, want %s", got, c.asked)
			}
		})
	}
}

func TestNew(t *testing.T) {
	g := gate.New(&script{}, 1)
	for want, cfg := range map[string]Config{
		"1 stages":                {Stages: []Stage{{Name: "a", Output: "p"}}},
		"BUG":                     {Stages: []Stage{{Name: "a", Output: "p"}, {Model: 1, Name: "b", Output: "p"}}},
		"0 and 1 are both b":      {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p"}, {Name: "b", Output: "p"}}},
		"stage b has no output":   {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p"}, {Model: 1, Name: "b"}}},
		"label in its output p":   {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p", Label: "p"}, {Model: 1, Name: "b", Output: "p"}}},
		"temperature -1":          {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p", Reading: Reading{Temperature: -1}}, {Model: 1, Name: "b", Output: "p"}}},
		"needs an output of":      {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p", Reading: Reading{Score: EnergyLogits}}, {Model: 1, Name: "b", Output: "p"}}},
		"b is the reference":      {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p"}, {Model: 1, Name: "b", Output: "p", Classes: []int{0}}}},
		"maps its class 1 to -2":  {Loop: &world{}, Gate: g, Stages: []Stage{{Name: "a", Output: "p", Classes: []int{0, -2}}, {Model: pool.ModelID(1), Name: "b", Output: "p"}}},
		"cannot make cascade two": {Name: "two"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
