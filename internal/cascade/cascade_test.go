package cascade

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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

// TestFormIsLearned: what metadata leave open the reference's first answer
// tells.
func TestFormIsLearned(t *testing.T) {
	s := begin(t, func(s *setting, _ *Config) { s.models[1].info.Metadata = nil }, &model{say: unsureOf}, &model{say: large})
	defer s.end()
	if a := s.do(request(t, 4)); a.Parameters.Exit != 1 {
		t.Errorf("before: %v", a)
	}
	if a := s.do(request(t, 4)); a.Parameters.Exit != 0 {
		t.Errorf("after: %v", a)
	}
}

// TestForms: the client gets the outputs that it asks for, as it asks for them.
func TestForms(t *testing.T) {
	s := begin(t, nil, &model{say: unsureOf}, &model{say: large})
	defer s.end()
	req := new(oip.Request)
	body := `{"inputs":[{"name":"x","datatype":"INT64","shape":[2,1],"data":[4,14]}],"outputs":[{"name":"y1","parameters":{"binary_data":true}},{"name":"p1","parameters":{"classification":1}}]}`
	if err := req.Parse([]byte(body), -1, nil); err != nil {
		t.Fatal(err)
	}
	r := &live.Request{Call: backend.Call{Request: req}, Size: 2, Mode: earlyexit.Compute}
	if err := s.cascade.Do(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	const want = `{"model_name":"both","model_version":"1","parameters":{"ee_exit":1,"ee_final":true,"ee_confidence":0.9},"outputs":[` +
		`{"name":"y1","datatype":"INT64","shape":[2,1],"parameters":{"binary_data_size":16}},` +
		`{"name":"p1","datatype":"BYTES","shape":[2,1],"data":["0.900000:1","0.960000:2"]}]}` +
		"\x01\x00\x00\x00\x00\x00\x00\x00\x66\x00\x00\x00\x00\x00\x00\x00"
	if got := string(r.Call.Response.Body); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if r.Exit != 1 || r.Confidence != 0.9 || r.Attempts != 2 || r.Worker != 1 {
		t.Errorf("request after it: %+v", r)
	}
}

func TestRequestIsAtFault(t *testing.T) {
	for _, err := range []error{
		&backend.Error{Class: backend.Client, Status: 422, Message: "no"},
		&oip.Error{Status: 400, Message: "no"},
		&live.Refusal{Reason: live.Stopping},
	} {
		s := begin(t, nil, &model{fail: err}, &model{say: large})
		if got := s.cascade.Do(context.Background(), request(t, 4)); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
		if got := s.rowsAsked(); got != "m0[4]" {
			t.Errorf("asked %s", got)
		}
		s.end()
	}
	s := begin(t, nil, &model{say: unsureOf}, &model{say: large})
	r := request(t, 4)
	r.Call.Request.Sequence = true
	var bad *oip.Error
	if err := s.cascade.Do(context.Background(), r); !errors.As(err, &bad) || bad.Status != 400 {
		t.Errorf("a member of a sequence: %v", err)
	}
}

// TestReferenceFails: its error is the answer, and rows are lost that only it
// could have told of.
func TestReferenceFails(t *testing.T) {
	none := &live.Refusal{Reason: live.NoWorker}
	s := begin(t, nil, &model{say: unsureOf}, &model{fail: none})
	if err := s.cascade.Do(context.Background(), request(t, 2, 3, 14)); !errors.Is(err, none) {
		t.Errorf("got %v, want %v", err, none)
	}
	s.end()
	got := s.learned
	if o := got[0]; o.Exit != 0 || o.Ran || o.Lost || o.Audit != 0.25 {
		t.Errorf("a row that stopped: %+v", o)
	}
	if o := got[1]; o.Exit != 0 || o.Ran || !o.Lost {
		t.Errorf("a row that was to be audited: %+v", o)
	}
	if o := got[2]; o.Exit != -1 || o.Ran || !o.Lost || o.Audit != 1 {
		t.Errorf("a row that went on: %+v", o)
	}
	if s.rowsAsked() != "m0[2 3 14] m1[14]" {
		t.Errorf("asked %s", s.rowsAsked())
	}
}

// TestLate: a small model that does not answer in time costs no more than the
// time that there was, whether or not the loop lets its goroutine go.
func TestLate(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := begin(t, nil, &model{say: unsureOf, took: time.Hour, stuck: stuck}, &model{say: large, took: 100 * time.Millisecond})
			defer s.end()
			r := request(t, 4)
			r.Timeout = 400 * time.Millisecond
			began := time.Now()
			if a := s.do(r); a.Parameters.Exit != 1 {
				t.Errorf("got %v", a)
			}
			if took := time.Since(began); took != 300*time.Millisecond {
				t.Errorf("it took %v, want half of the time to the deadline and 100ms", took)
			}
			if n := s.cascade.Counts(); n.Failed[0] != 1 || n.Asked[0] != 1 || n.Asked[1] != 1 || n.Failed[1] != 0 || n.Direct != 0 {
				t.Errorf("counts %+v", n)
			}
			time.Sleep(2 * time.Hour) // until the loop has let go
		})
	}
}

// TestDeadlines: each stage gets the time that leaves the reference its own,
// which gets the rest.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, _ *Config) {
			s.latest = func(size int, left time.Duration) (time.Duration, bool) {
				return left - 300*time.Millisecond, left >= 300*time.Millisecond
			}
		}, &model{say: unsureOf, took: 500 * time.Millisecond}, &model{say: unsureOf, took: 150 * time.Millisecond}, &model{say: large, took: time.Millisecond})
		s.do(request(t, 14))
		var got []time.Duration
		for _, c := range s.world.asked() {
			got = append(got, c.timeout/time.Millisecond)
		}
		if want := []time.Duration{700, 200, 350}; !slices.Equal(got, want) {
			t.Errorf("timeouts %v ms, want %v", got, want)
		}
		r := request(t, 14)
		r.Timeout = 290 * time.Millisecond
		s.do(r)
		if n := s.cascade.Counts(); n.Direct != 1 || n.Asked[0] != 1 || n.Asked[2] != 2 {
			t.Errorf("counts %+v", n)
		}
		r = request(t, 14)
		r.Timeout = 650 * time.Millisecond // enough for the first stage to end late
		s.do(r)
		if n := s.cascade.Counts(); n.Failed[0] != 1 || n.Direct != 2 {
			t.Errorf("counts %+v", n)
		}
		s.end()
	})
}

// TestClientLeaves: its request ends, and every row's outcome is known.
func TestClientLeaves(t *testing.T) {
	for name, m := range map[string][]*model{
		"at the small stage": {{say: unsureOf, took: time.Second}, {say: large}},
		"at the reference":   {{say: unsureOf}, {say: large, took: time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, func(_ *setting, c *Config) { c.QoS = time.Minute }, m...)
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(500*time.Millisecond, cancel)
				var gone *backend.Error
				began := time.Now()
				if err := s.cascade.Do(ctx, request(t, 1, 14)); !errors.As(err, &gone) || gone.Class != backend.Canceled {
					t.Errorf("got %v", err)
				}
				if time.Since(began) != 500*time.Millisecond {
					t.Errorf("it took %v", time.Since(began))
				}
				synctest.Wait()
				if got := s.world.asked(); len(got) > 2 || got[len(got)-1].ended == nil {
					t.Errorf("asked %+v", got)
				}
				s.end()
			})
		})
	}
}

// TestOutcomes: what the controller learns of rows that leave, go on and are
// audited.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := func(x int64) []float64 { return unsureOf(x + 1 - x/8) } // of 0 … 7
		s := begin(t, nil, &model{say: wrong}, &model{say: large, took: 5 * time.Millisecond})
		began := time.Now()
		s.do(request(t, 0, 1, 8, 9)) // sure of all; rows 1 and 3 are audited
		if time.Since(began) != 0 {
			t.Errorf("the answer waited %v for the audit", time.Since(began))
		}
		synctest.Wait()
		s.cascade.Gate().With(func(earlyexit.Controller) {
			if len(s.learned) != 2 {
				t.Errorf("learned %v before the audit's end", s.learned)
			}
		})
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		s.do(request(t, 16))
		s.end()
		for seq, want := range []earlyexit.Outcome{
			{Exit: 0, Audit: 0.25, Class: -1},
			{Exit: 0, Audit: 0.25, Ran: true, Class: 1},
			{Exit: 0, Audit: 0.25, Class: -1},
			{Exit: 0, Audit: 0.25, Ran: true, Class: 0, Agree: 1},
			{Exit: -1, Audit: 1, Ran: true, Class: 1},
		} {
			got := s.learned[uint64(seq)]
			if len(got.Signals) != 1 || !got.Signals[0].Seen() {
				t.Errorf("row %d has the signals %v", seq, got.Signals)
			}
			got.Signals, want.Seq = nil, uint64(seq)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("row %d: %+v, want %+v", seq, got, want)
			}
		}
		if o := s.learned[1]; !o.Disagrees() {
			t.Errorf("%+v does not disagree", o)
		}
		if got := s.rowsAsked(); got != "m0[0 1 8 9] m1[1 9] m0[16] m1[16]" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestLatencyMode: every row that leaves is run by the reference all the same.
func TestLatencyMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, _ *Config) {
			s.mode = earlyexit.Latency
			s.verdict = func(row *earlyexit.Row, ramp int) earlyexit.Verdict {
				if row.Mode != earlyexit.Latency || row.Most != 0.5 {
					t.Errorf("row %+v", row)
				}
				return earlyexit.Verdict{Exit: row.Signals[ramp].Confidence > 0.8, Audit: 1}
			}
		}, &model{say: unsureOf}, &model{say: large, took: time.Millisecond})
		r := request(t, 1, 14, 2)
		r.Most = 0.5
		if a := s.do(r); a.Parameters.Exit != 1 {
			t.Errorf("got %v", a)
		}
		s.end()
		r = request(t, 1)
		r.Mode = earlyexit.Off
		if a := s.do(r); a.Parameters.Exit != 1 || len(s.script.asked) != 3 {
			t.Errorf("a request that wants none is answered %v", a)
		}
		for seq, exit := range []int{0, -1, 0} {
			if o := s.learned[uint64(seq)]; o.Exit != exit || !o.Ran || o.Agree != 1 {
				t.Errorf("row %d: %+v", seq, o)
			}
		}
		if got := s.rowsAsked(); got != "m0[1 14 2] m1[14] m1[1 2] m1[1]" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestAuditsAreLost: for want of room, by a refusal, by their own deadline, by
// an answer that tells no class, and when the cascade ends.
func TestAuditsAreLost(t *testing.T) {
	all := func(s *setting, c *Config) {
		s.verdict = func(*earlyexit.Row, int) earlyexit.Verdict { return audited }
	}
	for _, c := range []struct {
		name   string
		large  *model
		audits Audits
		close  time.Duration // what Close waits
		ran    int           // of 8
	}{
		{"none", &model{say: large, took: time.Second}, Audits{Most: 1, Queue: 7, Timeout: time.Minute}, time.Hour, 8},
		{"no room", &model{say: large, took: time.Second}, Audits{Most: 2, Queue: 3, Timeout: time.Minute}, time.Hour, 5},
		{"refused", &model{fail: &live.Refusal{Reason: live.Deadline}, took: time.Second}, Audits{}, time.Hour, 0},
		{"late", &model{say: large, took: time.Second}, Audits{Most: 1, Timeout: 4500 * time.Millisecond}, time.Hour, 4},
		{"no class", &model{say: func(int64) []float64 { return []float64{1, math.NaN(), 0} }}, Audits{}, time.Hour, 0},
		{"no answer", &model{say: large, rewrite: func(m *oip.Message) { m.Body = nil }}, Audits{}, time.Hour, 0},
		{"the end", &model{say: large, took: time.Second}, Audits{Most: 1, Timeout: time.Minute}, 2500 * time.Millisecond, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := begin(t, func(s *setting, cfg *Config) { all(s, cfg); cfg.Audits = c.audits }, &model{say: unsureOf}, c.large)
				for x := range int64(8) {
					s.do(request(t, x))
				}
				ctx, cancel := context.WithTimeout(context.Background(), c.close)
				defer cancel()
				if err := s.cascade.Close(ctx); (err != nil) != (c.ran == 2) {
					t.Errorf("Close: %v", err)
				}
				s.end()
				ran, lost := 0, 0
				for _, o := range s.learned {
					if o.Exit != 0 || o.Audit != 0.25 || o.Ran == o.Lost {
						t.Errorf("outcome %+v", o)
					}
					if o.Ran {
						ran++
					} else {
						lost++
					}
				}
				if ran != c.ran || ran+lost != 8 {
					t.Errorf("%d audits ran and %d were lost, want %d of 8", ran, lost, c.ran)
				}
				s.do(request(t, 8)) // still answered
				if o := s.learned[8]; !o.Lost {
					t.Errorf("an audit after the end: %+v", o)
				}
			})
		})
	}
}

// TestAuditsAreBounded: never more at once than allowed, and below everybody
// else.
func TestAuditsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, func(s *setting, c *Config) {
			s.verdict = func(*earlyexit.Row, int) earlyexit.Verdict { return audited }
			c.Audits = Audits{Most: 3}
		}, &model{say: unsureOf}, &model{say: large, took: time.Second})
		for x := range int64(12) {
			s.do(request(t, x%9))
		}
		for i := 1; i <= 4; i++ {
			time.Sleep(time.Second)
			synctest.Wait()
			n := 0
			for _, c := range s.world.asked() {
				if c.model == 1 {
					n++
				}
				if c.model == 1 && c.priority != lowest {
					t.Errorf("an audit has priority %d", c.priority)
				}
			}
			if n != 3*i {
				t.Errorf("%d audits have ended after %d s, want %d", n, i, 3*i)
			}
		}
		s.end()
	})
}

// TestShow: a client that wants to see stages is shown what they would answer,
// and the answer last.
func TestShow(t *testing.T) {
	s := begin(t, nil, &model{say: unsureOf}, &model{say: unsureOf}, &model{say: large})
	defer s.end()
	var seen []string
	r := request(t, 1, 14)
	r.Ramps = 0b11
	r.Show = func(k int, m oip.Message) {
		a := parse(t, m)
		if a.Parameters.Final || a.Parameters.Exit != k || a.ID != "q" || a.ModelName != "both" || *a.Parameters.Confidence != 0.5 {
			t.Errorf("stage %d shows %s", k, m.Body)
		}
		seen = append(seen, a.String())
	}
	a := s.do(r)
	want := []string{
		"exit 0 p2[2 3]=0.05,0.9,0.05,0.25,0.25,0.5 y2[2 1]=1,2",
		"exit 1 p2[2 3]=0.05,0.9,0.05,0.25,0.25,0.5 y2[2 1]=1,102",
	}
	if !slices.Equal(seen, want) || a.String() != "exit 2 p2[2 3]=0.05,0.9,0.05,0.02,0.02,0.96 y2[2 1]=1,202" {
		t.Errorf("shown %q, answered %v", seen, a)
	}
	seen = nil
	r = request(t, 1)
	r.Ramps, r.Show = 0b11, func(int, oip.Message) { t.Error("an answer that is final is shown") }
	s.do(r)
	// A stage that the controller does not want is asked for the client's sake,
	// and decides nothing.
	s.active = 0
	r = request(t, 1)
	r.Ramps, r.Show = 0b10, func(k int, m oip.Message) { seen = append(seen, parse(t, m).String()) }
	if a := s.do(r); a.Parameters.Exit != 2 || len(seen) != 1 || seen[0] != "exit 1 p2[1 3]=0.05,0.9,0.05 y2[1 1]=101" {
		t.Errorf("shown %q, answered %v", seen, a)
	}
}

// TestShowOnly: a client that lets no row exit is shown the stages it wants to
// see, the reference's answer is its answer, and the controller learns of it.
func TestShowOnly(t *testing.T) {
	s := begin(t, nil, &model{say: unsureOf}, &model{say: unsureOf}, &model{say: large})
	var seen []string
	r := request(t, 4, 14)
	r.Mode, r.Ramps, r.Show = earlyexit.Off, 0b10, func(k int, m oip.Message) { seen = append(seen, parse(t, m).String()) }
	if a := s.do(r); a.Parameters.Exit != 2 || len(seen) != 1 || seen[0] != "exit 1 p2[2 3]=0.05,0.9,0.05,0.25,0.25,0.5 y2[2 1]=101,102" {
		t.Errorf("shown %q, answered %v", seen, a)
	}
	s.end()
	if got := s.rowsAsked(); got != "m1[4 14] m2[4 14]" {
		t.Errorf("asked %s", got)
	}
	if o := s.learned[0]; len(s.learned) != 2 || o.Exit != -1 || !o.Ran || o.Agree != 0b10 || o.Signals[0].Seen() {
		t.Errorf("learned %+v", s.learned)
	}
}

// TestModelsThatDoNotBatch: what they are asked is one row.
func TestModelsThatDoNotBatch(t *testing.T) {
	// x is [1,1] here, and p and y are what they are of one row.
	s := begin(t, func(s *setting, _ *Config) {
		for _, m := range s.models {
			m.info.Batched = false
			for k := range m.info.Metadata.Outputs {
				m.info.Metadata.Outputs[k].Shape[0] = 1
			}
		}
		s.unbatched = true
	}, &model{say: unsureOf}, &model{say: large})
	defer s.end()
	if got := s.do(request(t, 4)).String(); got != "exit 0 p1[1 3]=0.05,0.9,0.05 y1[1 1]=1" {
		t.Error(got)
	}
	if got := s.do(request(t, 14)).String(); got != "exit 1 p1[1 3]=0.02,0.02,0.96 y1[1 1]=102" {
		t.Error(got)
	}
}

func TestInfo(t *testing.T) {
	s := begin(t, nil, &model{say: unsureOf}, &model{say: large})
	info := s.cascade.Info()
	m := info.Metadata
	if !info.Batched || m.Name != "both" || len(m.Inputs) != 1 || len(m.Outputs) != 2 || m.Outputs[0].Name != "p1" || m.Outputs[1].Name != "y1" || len(m.Versions) != 1 {
		t.Errorf("%+v, %+v", info, m)
	}
	if n := testing.AllocsPerRun(10, func() { info = s.cascade.Info() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.cascade.Reference() != 1 {
		t.Error("the reference is not the last")
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
