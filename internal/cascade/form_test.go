package cascade

import (
	"context"
	"slices"
	"testing"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
)

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
