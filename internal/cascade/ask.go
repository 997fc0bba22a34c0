package cascade

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"motley/internal/backend"
	"motley/internal/live"
	"motley/internal/oip"
)

// request makes the request that a stage is asked for some rows of req, or for
// all of it where the model does not batch. It shares nothing with req.
func (c *Cascade) request(stage int, req *oip.Request, rows []int, batched bool) (*live.Request, error) {
	st := &c.cfg.Stages[stage]
	info := c.cfg.Loop.Info(st.Model)
	if info.Batched != batched {
		return nil, fmt.Errorf("model %s batches and the reference does not, or the other way round", st.Name)
	}
	size := len(rows)
	if !batched {
		rows, size = nil, 1
	}
	outputs := []string{st.Output, st.Label}
	if st.Label == "" {
		outputs = outputs[:1]
	}
	sub := new(oip.Request)
	if err := oip.Gather(sub, req, rows, outputs...); err != nil {
		return nil, err
	}
	sub.Model = st.Name
	if info.Metadata != nil {
		// Not the outputs: servers know more than they tell.
		meta := *info.Metadata
		meta.Outputs = nil
		if err := sub.Check(&meta, batched, 0); err != nil {
			if stage < c.last { // what the reference takes: not the client's fault
				err = fmt.Errorf("model %s does not take what the reference takes: %s", st.Name, err)
			}
			return nil, err
		}
	}
	return &live.Request{
		Call: backend.Call{Request: sub}, Model: st.Model, Size: size,
		MergeKey: sub.MergeKey(uint64(st.Model), batched),
		Whole:    !info.Splits || !sub.Splittable(info.Metadata, batched),
	}, nil
}

// answer is what a stage said.
type answer struct {
	form   form
	values [][]float64 // by row
	labels [][]byte    // by row one element; nil where the stage has no label
}

// read takes a stage's answer to that many rows.
func (c *Cascade) read(stage int, sub *live.Request, rows int, batched bool) (*answer, error) {
	a, err := c.tryRead(stage, sub, rows, batched)
	if err == nil {
		return a, nil
	}
	err = fmt.Errorf("the answer of model %s cannot be used: %w", c.cfg.Stages[stage].Name, err)
	return nil, &backend.Error{Class: backend.Protocol, Status: http.StatusBadGateway, Message: err.Error(), Cause: err}
}

func (c *Cascade) tryRead(stage int, sub *live.Request, rows int, batched bool) (*answer, error) {
	st := &c.cfg.Stages[stage]
	var resp oip.Response
	if err := resp.Parse(sub.Call.Response.Body, sub.Call.Response.HeadLength, nil); err != nil {
		return nil, err
	}
	if resp.HeadLength < 0 {
		// A worker's own answer, which may be JSON although binary was asked for.
		var m oip.Message
		if err := oip.Split([]*oip.Message{&m}, &resp, []*oip.Request{sub.Call.Request}, nil); err != nil {
			return nil, err
		}
		if err := resp.Parse(m.Body, m.HeadLength, nil); err != nil {
			return nil, err
		}
	}
	a := &answer{form: form{batched: batched}}
	data, err := a.form.score.take(&resp, st.Output, rows, batched)
	if err != nil {
		return nil, err
	}
	values, ok := oip.Values(nil, data, a.form.score.datatype)
	if !ok || len(values) == 0 {
		return nil, fmt.Errorf("output %s has %d bytes of %s", st.Output, len(data), a.form.score.datatype)
	}
	for row := range rows {
		width := len(values) / rows
		a.values = append(a.values, values[row*width:][:width])
	}
	if st.Label == "" {
		return a, nil
	}
	if data, err = a.form.label.take(&resp, st.Label, rows, batched); err != nil {
		return nil, err
	}
	if n := a.form.label.values(); n != 1 {
		return nil, fmt.Errorf("label %s has %d elements a row", st.Label, n)
	}
	for range rows {
		size := a.form.label.datatype.Size()
		if size == 0 { // BYTES, whose lengths were checked
			size = 4 + int(binary.LittleEndian.Uint32(data))
		}
		a.labels = append(a.labels, data[:size:size])
		data = data[size:]
	}
	return a, nil
}

// take finds an output, notes its form and returns its data.
func (f *tensorForm) take(resp *oip.Response, name string, rows int, batched bool) ([]byte, error) {
	for i := range resp.Outputs {
		o := &resp.Outputs[i]
		if string(o.Name) != name {
			continue
		}
		f.datatype, f.shape = o.Datatype, append([]int64(nil), o.Shape...)
		if o.JSON != nil {
			return nil, fmt.Errorf("output %s is not binary", name)
		}
		if batched {
			if len(o.Shape) == 0 || o.Shape[0] != int64(rows) {
				return nil, fmt.Errorf("output %s has shape %v for %d rows", name, o.Shape, rows)
			}
			f.shape = f.shape[1:]
		}
		return o.Binary, nil
	}
	return nil, fmt.Errorf("it lacks output %s", name)
}

// isFinal tells whether a small stage's failure is the answer: the request is
// at fault, or the router stops. Anything else another stage may do better.
func isFinal(err error) bool {
	if refusal, ok := errors.AsType[*live.Refusal](err); ok {
		return refusal.Reason == live.Stopping
	}
	if worker, ok := errors.AsType[*backend.Error](err); ok {
		return worker.Class == backend.Client && worker.Status < 500
	}
	if bad, ok := errors.AsType[*oip.Error](err); ok {
		return bad.Status < 500
	}
	return false
}
