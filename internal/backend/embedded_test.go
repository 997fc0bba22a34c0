package backend

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"motley/internal/engine"
	"motley/internal/oip"
)

var _ Backend = (*Embedded)(nil)

func newEmbedded(t *testing.T, m engine.Model) *Embedded {
	t.Helper()
	b := NewEmbedded(map[string]engine.Model{"double": m}, "test")
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestEmbeddedSplitsABatchOfBothForms(t *testing.T) {
	b := newEmbedded(t, &doubler{})
	calls := []*Call{
		jsonCall(t, "a", "", [2]float32{1, 2}, [2]float32{3, 4}),
		binaryCall(t, "b", [2]float32{5, 6}),
		jsonCall(t, "c", "", [2]float32{7, 8}),
		binaryCall(t, "d", [2]float32{9, 10}, [2]float32{11, 12}, [2]float32{13, 14}),
	}
	for range 2 {
		if err := b.Run(t.Context(), "double", calls); err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, calls[0], "a", false, [2]float32{1, 2}, [2]float32{3, 4})
		checkAnswer(t, calls[1], "b", true, [2]float32{5, 6})
		checkAnswer(t, calls[2], "c", false, [2]float32{7, 8})
		checkAnswer(t, calls[3], "d", true, [2]float32{9, 10}, [2]float32{11, 12}, [2]float32{13, 14})
	}
	if !strings.Contains(string(calls[0].Response.Body), `"model_version":"2"`) {
		t.Errorf("answer %s does not name the newest version", calls[0].Response.Body)
	}
}

func TestEmbeddedSingleRequests(t *testing.T) {
	b := newEmbedded(t, &doubler{})
	for _, inBinary := range []bool{false, true} {
		c := jsonCall(t, "a", "", [2]float32{1, 2}, [2]float32{3, 4})
		if inBinary {
			c = binaryCall(t, "a", [2]float32{1, 2}, [2]float32{3, 4})
		}
		c.Response.Body = make([]byte, 1, 4096)
		memory := &c.Response.Body[0]
		if err := b.Run(t.Context(), "double", []*Call{c}); err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, c, "a", inBinary, [2]float32{1, 2}, [2]float32{3, 4})
		if &c.Response.Body[0] != memory {
			t.Error("the response is not in the caller's memory")
		}
	}
}

func TestEmbeddedRequestedOutputs(t *testing.T) {
	var asked []string
	m := &recorder{doubler: doubler{}, want: &asked}
	b := newEmbedded(t, m)
	only := `,"outputs":[{"name":"sum"}]`
	calls := []*Call{jsonCall(t, "a", only, [2]float32{1, 2}), jsonCall(t, "b", only, [2]float32{3, 4}, [2]float32{5, 6})}
	if err := b.Run(t.Context(), "double", calls); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked, []string{"sum"}) {
		t.Errorf("the engine was asked for %v, want only sum", asked)
	}
	for i, want := range [][]float32{{3}, {7, 11}} {
		var resp oip.Response
		if err := resp.Parse(calls[i].Response.Body, calls[i].Response.HeadLength, nil); err != nil {
			t.Fatal(err)
		}
		if len(resp.Outputs) != 1 || string(resp.Outputs[0].Name) != "sum" || !slices.Equal(jsonFloats(t, resp.Outputs[0].JSON), want) {
			t.Errorf("answer %d: %s", i, calls[i].Response.Body)
		}
	}
}

// recorder notes which outputs its doubler was asked for.
type recorder struct {
	doubler
	want *[]string
}

func (r *recorder) Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	*r.want = slices.Clone(want)
	return r.doubler.Run(ctx, in, want)
}

// Parse finds what is known to have no value; should it ever miss something,
// the others of the batch do not suffer. 9e38 is out of FP32's range.
func TestUndecodableMemberFailsAlone(t *testing.T) {
	worker := newWorker(t, true)
	for name, b := range map[string]Backend{
		"embedded": newEmbedded(t, &doubler{}),
		"remote":   newRemote(t, RemoteConfig{URL: worker.URL, Binary: "on"}),
	} {
		t.Run(name, func(t *testing.T) {
			bad := parsedCall(t, []byte(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[9e37,0]}]}`), -1)
			copy(bad.Request.Inputs[0].JSON, "[9e38,0]")
			calls := []*Call{binaryCall(t, "a", [2]float32{1, 2}), bad, jsonCall(t, "c", "", [2]float32{5, 6})}
			if err := b.Run(t.Context(), "double", calls); err != nil {
				t.Fatal(err)
			}
			checkAnswer(t, calls[0], "a", true, [2]float32{1, 2})
			checkAnswer(t, calls[2], "c", false, [2]float32{5, 6})
			if bad.Err == nil {
				t.Fatalf("the bad member got %s", bad.Response.Body)
			}
			if e := wantClass(t, bad.Err, Client); e.Status != 400 || !strings.Contains(e.Message, "out of range") {
				t.Errorf("the bad member's error is %+v", e)
			}
		})
	}
}

// halver answers in FP16, which has no JSON form.
type halver struct{ doubler }

func (h *halver) Run(_ context.Context, in []oip.Tensor, _ []string) ([]oip.Tensor, error) {
	n := in[0].Shape[0]
	return []oip.Tensor{{Name: "h", Datatype: oip.FP16, Shape: []int64{n, 1}, Data: make([]byte, 2*n)}}, nil
}

func TestEmbeddedMemberWhoseAnswerHasNoJSONFormFailsAlone(t *testing.T) {
	b := newEmbedded(t, &halver{})
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2}), binaryCall(t, "b", [2]float32{3, 4}, [2]float32{5, 6})}
	if err := b.Run(t.Context(), "double", calls); err != nil {
		t.Fatal(err)
	}
	wantClass(t, calls[0].Err, Client)
	var resp oip.Response
	if err := resp.Parse(calls[1].Response.Body, calls[1].Response.HeadLength, nil); err != nil || calls[1].Err != nil {
		t.Fatal(err, calls[1].Err)
	}
	if len(resp.Outputs) != 1 || len(resp.Outputs[0].Binary) != 4 {
		t.Errorf("answer %q", calls[1].Response.Body)
	}
}

func TestEmbeddedFailures(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	late, stop := context.WithTimeout(t.Context(), -1)
	defer stop()
	boom := errors.New("out of memory")
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		run     func(context.Context) error
		class   Class
		status  int
		message string
	}{
		{"panic", t.Context(), func(context.Context) error { panic("index out of range") }, Server, 500, "index out of range"},
		{"engine error", t.Context(), func(context.Context) error { return boom }, Server, 500, "out of memory"},
		{"the caller's fault", t.Context(), func(context.Context) error { return &oip.Error{Status: 400, Message: "bad shape"} }, Client, 400, "bad shape"},
		{"protocol error of ours", t.Context(), func(context.Context) error { return &oip.Error{Status: 500, Message: "bug"} }, Server, 500, "bug"},
		{"cancelled before", ended, nil, Canceled, StatusClientClosed, "cancelled"},
		{"deadline passed before", late, nil, Timeout, 504, "deadline"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ran := false
			b := newEmbedded(t, &doubler{run: func(ctx context.Context) error {
				if ran = true; tc.run == nil {
					return nil
				}
				return tc.run(ctx)
			}})
			c := jsonCall(t, "a", "", [2]float32{1, 2})
			e := wantClass(t, b.Run(tc.ctx, "double", []*Call{c}), tc.class)
			if e.Status != tc.status || !strings.Contains(e.Message, tc.message) {
				t.Errorf("got %d %q", e.Status, e.Message)
			}
			if ran != (tc.run != nil) {
				t.Errorf("the engine ran: %t", ran)
			}
			if tc.name == "panic" && (e.Cause == nil || !strings.Contains(e.Cause.Error(), "doubler") || strings.Contains(e.Message, "goroutine")) {
				t.Errorf("the stack belongs to the cause alone: %q, cause %v", e.Message, e.Cause)
			}
		})
	}
}

// A cancel during the execution is the caller's wish, whatever the engine
// makes of it.
func TestEmbeddedCancelledWhileItRuns(t *testing.T) {
	for _, answer := range []error{nil, context.Canceled, errors.New("interrupted")} {
		ctx, cancel := context.WithCancel(t.Context())
		b := newEmbedded(t, &doubler{run: func(context.Context) error { cancel(); return answer }})
		wantClass(t, b.Run(ctx, "double", []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}), Canceled)
	}
}

// whole has no batch dimension: input v FP32 [3], output total FP32 [1].
type whole struct{}

var wholeMetadata = &oip.ModelMetadata{
	Name:    "whole",
	Inputs:  []oip.TensorMetadata{{Name: "v", Datatype: oip.FP32, Shape: []int64{3}}},
	Outputs: []oip.TensorMetadata{{Name: "total", Datatype: oip.FP32, Shape: []int64{1}}},
}

func (whole) Metadata() *oip.ModelMetadata { return wholeMetadata }
func (whole) MaxBatch() int                { return 0 }
func (whole) Close() error                 { return errors.New("busy") }
func (whole) Run(_ context.Context, in []oip.Tensor, _ []string) ([]oip.Tensor, error) {
	v := floats(in[0].Data)
	return []oip.Tensor{{Name: "total", Datatype: oip.FP32, Shape: []int64{1}, Data: appendFloats(nil, v[0]+v[1]+v[2])}}, nil
}

func TestEmbeddedModelWithoutABatchDimension(t *testing.T) {
	b := NewEmbedded(map[string]engine.Model{"whole": whole{}}, "test")
	q := &oip.Request{}
	if err := q.Parse([]byte(`{"inputs":[{"name":"v","shape":[3],"datatype":"FP32","data":[1,2,4]}]}`), -1, nil); err != nil {
		t.Fatal(err)
	}
	if err := q.Check(wholeMetadata, false, 0); err != nil {
		t.Fatal(err)
	}
	c := &Call{Request: q}
	if err := b.Run(t.Context(), "whole", []*Call{c}); err != nil {
		t.Fatal(err)
	}
	if got := string(c.Response.Body); !strings.Contains(got, `"shape":[1]`) || !strings.Contains(got, `[7]`) || strings.Contains(got, "model_version") {
		t.Errorf("answer %s", got)
	}
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), `"whole"`) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("Close returned %v, want the model's error with its name", err)
	}
}

// short leaves out a row.
type short struct{ doubler }

func (s *short) Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	out, err := s.doubler.Run(ctx, in, want)
	out[0].Shape = []int64{in[0].Shape[0] - 1, 2}
	out[0].Data = out[0].Data[8:]
	return out, err
}

func TestEmbeddedWrongNumberOfRows(t *testing.T) {
	b := newEmbedded(t, &short{})
	calls := []*Call{jsonCall(t, "a", "", [2]float32{1, 2}), jsonCall(t, "b", "", [2]float32{3, 4})}
	if e := wantClass(t, b.Run(t.Context(), "double", calls), Server); e.Status != 500 {
		t.Errorf("status %d", e.Status)
	}
}

func TestEmbeddedNamesAndProbe(t *testing.T) {
	m := &doubler{}
	b := NewEmbedded(map[string]engine.Model{"double": m}, "builtin")
	if got := b.Describe(); got != "embedded builtin" {
		t.Errorf("described as %q", got)
	}
	st, err := b.Probe(t.Context(), "double")
	if err != nil || !st.Ready || !st.Binary || st.MaxBatch != 64 || st.Metadata != doublerMetadata {
		t.Errorf("probe: %+v, %v", st, err)
	}
	if st, err := b.Probe(t.Context(), "other"); err != nil || st.Ready {
		t.Errorf("probe of a model that is not there: %+v, %v", st, err)
	}
	e := wantClass(t, b.Run(t.Context(), "other", []*Call{jsonCall(t, "a", "", [2]float32{1, 2})}), Server)
	if e.Status != 502 || !strings.Contains(e.Message, `"other"`) {
		t.Errorf("got %d %q", e.Status, e.Message)
	}
	if err := b.Run(t.Context(), "double", nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	if err := b.Close(); err != nil || !m.closed {
		t.Errorf("Close: %v, model closed %t", err, m.closed)
	}
}
