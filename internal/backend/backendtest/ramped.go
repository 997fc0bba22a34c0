package backendtest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	"motley/internal/oip"
)

// Ramped is an OIP server over a loopback socket whose one model has ramps. Input
// "x" is FP32 [n,Classes]; exit k (the model's own is k = Ramps) says, as output
// "probabilities", softmax((k+1)·x), and as "label" INT64 [n] its largest: so an
// exit is surer than the one before, and all agree. Set the fields before Start.
type Ramped struct {
	Model   string // default "ramped"
	Ramps   int    // default 3
	Classes int    // default 4
	Mode    string // oip.ModeDecoupled, the default, or oip.ModeMultiOutput
	Eager   bool   // infer answers by the first ramp unless ee_mode is off
	// Properties are added to the metadata's, "" takes one away.
	Properties map[string]string
	// Events says what the stream holds for a request of so many rows; default:
	// each active ramp in order, then the last exit.
	Events func(rows int, active []int) []Event
	// Answer, where set, answers an inference in the place of everything else.
	Answer func(rw http.ResponseWriter, q *http.Request)

	server *httptest.Server
	mu     struct {
		sync.Mutex
		got []RampedRequest
	}
	over sync.WaitGroup
}

// Event is one step of a stream.
type Event struct {
	Exit  int             // whose answer is sent, as a "ramp" or, for the model's own, "final"
	Raw   string          // sent as it stands instead, where not empty
	After <-chan struct{} // awaited first, where not nil; the client's leaving ends the stream
	// Says replaces the probabilities of the exit, row by row.
	Says [][]float32
	// Sure sends "confidence" FP32 [n] in the place of the probabilities.
	Sure bool
}

// RampedRequest is an inference as it came.
type RampedRequest struct {
	Path   string
	Accept string
	Exits  oip.ExitParams
	Rows   int
	Binary bool // its data was binary
	Sent   int  // events that were sent
	Left   bool // the client closed the stream before its end
}

// Start serves until Close.
func (f *Ramped) Start() *Ramped {
	for _, d := range []struct {
		field *int
		value int
	}{{&f.Ramps, 3}, {&f.Classes, 4}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if f.Model == "" {
		f.Model = "ramped"
	}
	if f.Mode == "" {
		f.Mode = oip.ModeDecoupled
	}
	mux := http.NewServeMux()
	reply := func(path string, v any) {
		mux.HandleFunc("GET "+path, func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(v) })
	}
	model := "/v2/models/" + f.Model
	reply("/v2", oip.ServerMetadata{Name: "ramped", Version: "1", Extensions: []string{"binary_tensor_data"}})
	reply(model, f.Metadata())
	reply(model+"/config", oip.ModelConfig{Name: f.Model, MaxBatchSize: 64})
	reply(model+"/ready", oip.ModelReadyResponse{Name: f.Model, Ready: true})
	mux.HandleFunc("POST "+model+"/infer", func(rw http.ResponseWriter, q *http.Request) { f.infer(rw, q, false) })
	mux.HandleFunc("POST "+model+"/infer_stream", func(rw http.ResponseWriter, q *http.Request) { f.infer(rw, q, true) })
	f.server = httptest.NewServer(mux)
	return f
}

// URL is the server's base.
func (f *Ramped) URL() string { return f.server.URL }

// Close breaks the connections off and waits until all requests have ended.
func (f *Ramped) Close() {
	f.server.CloseClientConnections()
	f.server.Close()
	f.over.Wait()
}

// Metadata describes the model as the server does.
func (f *Ramped) Metadata() oip.ModelMetadata {
	wide := []int64{-1, int64(f.Classes)}
	m := oip.ModelMetadata{
		Name: f.Model, Versions: []string{"1"}, Platform: "test",
		Inputs:  []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: wide}},
		Outputs: []oip.TensorMetadata{{Name: "probabilities", Datatype: oip.FP32, Shape: wide}, {Name: "label", Datatype: oip.Int64, Shape: []int64{-1}}},
		Properties: map[string]string{
			oip.MetaRamps: strconv.Itoa(f.Ramps), oip.MetaClasses: strconv.Itoa(f.Classes), oip.MetaMode: f.Mode,
		},
	}
	depth := ""
	for k := range f.Ramps {
		depth += fmt.Sprintf(",%.3f", float64(k+1)/float64(f.Ramps+1))
	}
	m.Properties[oip.MetaDepth] = depth[1:]
	for k, v := range f.Properties {
		if m.Properties[k] = v; v == "" {
			delete(m.Properties, k)
		}
	}
	return m
}

// Says is what an exit says of the row x.
func (f *Ramped) Says(exit int, x []float32) []float32 {
	p, sum := make([]float32, len(x)), 0.0
	for i, v := range x {
		e := math.Exp(float64(exit+1) * float64(v))
		p[i], sum = float32(e), sum+e
	}
	for i := range p {
		p[i] /= float32(sum)
	}
	return p
}

// Requests are the inferences that have come, in order. It waits for those under
// way to end.
func (f *Ramped) Requests() []RampedRequest {
	f.over.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]RampedRequest(nil), f.mu.got...)
}

func (f *Ramped) infer(rw http.ResponseWriter, q *http.Request, stream bool) {
	f.over.Add(1)
	defer f.over.Done()
	got := RampedRequest{Path: q.URL.Path, Accept: q.Header.Get("Accept")}
	defer func() {
		f.mu.Lock()
		f.mu.got = append(f.mu.got, got)
		f.mu.Unlock()
	}()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	head, err := oip.ParseHeadLength([]byte(q.Header.Get("Inference-Header-Content-Length")))
	var req oip.Request
	meta := f.Metadata()
	var in []oip.Tensor
	if err == nil {
		if err = req.Parse(body, head, nil); err == nil {
			if err = req.Check(&meta, true, 64); err == nil {
				in, err = oip.Tensors(nil, []*oip.Request{&req}, &meta)
			}
		}
	}
	if err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write(oip.AppendError(nil, err.Error()))
		return
	}
	got.Exits, got.Rows, got.Binary = req.Exits, req.Size(true), head >= 0
	x := floats(in[0].Data)
	switch {
	case f.Answer != nil:
		f.Answer(rw, q)
	case stream:
		f.stream(rw, q, &req, x, &got)
	default:
		exit := f.Ramps
		if f.Eager && string(req.Exits.Mode) != "off" {
			exit = 0
		}
		out := f.answer(exit, x, Event{})
		for k := range f.Ramps {
			if f.Mode == oip.ModeMultiOutput {
				out = append(out, f.answer(k, x, Event{})[0])
				out[len(out)-1].Name = fmt.Sprintf("ramp%d_probabilities", k)
			}
		}
		b := f.encode(&req, out, nil)
		_, _ = rw.Write(b)
	}
}

func (f *Ramped) stream(rw http.ResponseWriter, q *http.Request, req *oip.Request, x []float32, got *RampedRequest) {
	var active []int
	for k := range f.Ramps {
		if !req.Exits.RampsGiven || req.Exits.Ramps>>k&1 == 1 {
			active = append(active, k)
		}
	}
	var list []Event
	if f.Events != nil {
		list = f.Events(req.Size(true), active)
	} else {
		for _, k := range active {
			list = append(list, Event{Exit: k})
		}
		list = append(list, Event{Exit: f.Ramps})
	}
	rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	flush := http.NewResponseController(rw)
	_ = flush.Flush()
	for _, e := range list {
		if e.After != nil {
			select {
			case <-e.After:
			case <-q.Context().Done():
			}
		}
		if q.Context().Err() != nil {
			got.Left = true
			return
		}
		if e.Raw != "" {
			_, _ = io.WriteString(rw, e.Raw)
		} else {
			name := "ramp"
			if e.Exit == f.Ramps {
				name = "final"
			}
			mark := oip.ExitMark{Exit: e.Exit, Final: e.Exit == f.Ramps, Confidence: float32(math.NaN())}.Append(nil)
			_, _ = fmt.Fprintf(rw, "event: %s\ndata: %s\n\n", name, f.encode(req.AsJSON(), f.answer(e.Exit, x, e), mark))
		}
		_ = flush.Flush()
		got.Sent++
	}
}

// answer is what an exit says of all rows.
func (f *Ramped) answer(exit int, x []float32, e Event) []oip.Tensor {
	rows := len(x) / f.Classes
	p := oip.Tensor{Name: "probabilities", Datatype: oip.FP32, Shape: []int64{int64(rows), int64(f.Classes)}}
	sure := oip.Tensor{Name: "confidence", Datatype: oip.FP32, Shape: []int64{int64(rows)}}
	label := oip.Tensor{Name: "label", Datatype: oip.Int64, Shape: []int64{int64(rows)}}
	for r := range rows {
		says := f.Says(exit, x[r*f.Classes:(r+1)*f.Classes])
		if e.Says != nil {
			says = e.Says[r]
		}
		best := 0
		for i, v := range says {
			p.Data = binary.LittleEndian.AppendUint32(p.Data, math.Float32bits(v))
			if v > says[best] {
				best = i
			}
		}
		sure.Data = binary.LittleEndian.AppendUint32(sure.Data, math.Float32bits(says[best]))
		label.Data = binary.LittleEndian.AppendUint64(label.Data, uint64(best))
	}
	if e.Sure {
		return []oip.Tensor{label, sure}
	}
	return []oip.Tensor{p, label}
}

func (f *Ramped) encode(req *oip.Request, out []oip.Tensor, parameters []byte) []byte {
	var m oip.Message
	info := oip.ResponseInfo{Model: f.Model, Version: "1", Parameters: parameters}
	if err := oip.Encode([]*oip.Message{&m}, out, []*oip.Request{req.AsJSON()}, nil, info); err != nil {
		return oip.AppendError(nil, err.Error())
	}
	return m.Body
}

func floats(b []byte) (f []float32) {
	for ; len(b) >= 4; b = b[4:] {
		f = append(f, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return f
}
