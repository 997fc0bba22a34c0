package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

// handle answers one HTTP request.
func (s *server) handle(ctx *fasthttp.RequestCtx) {
	came := time.Now()
	path := ctx.Path()
	if rest, ok := bytes.CutPrefix(path, []byte("/v2/models/")); ok && string(rest) != "stats" {
		s.handleModel(ctx, rest, came)
		return
	}
	get := ctx.IsGet() || ctx.IsHead()
	switch string(path) {
	case "/v2", "/v2/":
		s.describe(ctx, get, s.metadata())
	case "/v2/health/live", "/v2/health/ready":
		s.describe(ctx, get, nil)
	case "/v2/models/stats":
		s.describe(ctx, get, oip.StatsResponse{ModelStats: s.stats()})
	case "/emulated/faults":
		s.setFaults(ctx)
	case "/v2/repository/index":
		s.describe(ctx, ctx.IsPost(), s.index())
	case "/metrics":
		if !get {
			fail(ctx, http.StatusMethodNotAllowed, "Method Not Allowed")
			return
		}
		ctx.Response.Header.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		ctx.Response.SetBodyRaw(s.metrics())
	default:
		fail(ctx, http.StatusNotFound, "Not Found")
	}
}

// handleModel answers for {m}[/versions/1][/{verb}].
func (s *server) handleModel(ctx *fasthttp.RequestCtx, rest []byte, came time.Time) {
	name, verb, _ := bytes.Cut(rest, []byte("/"))
	m := s.model(name)
	if m < 0 {
		fail(ctx, http.StatusNotFound, fmt.Sprintf("Request for unknown model: '%.128s' is not found", name))
		return
	}
	if v, ok := bytes.CutPrefix(verb, []byte("versions/")); ok {
		if v, verb, _ = bytes.Cut(v, []byte("/")); string(v) != version {
			fail(ctx, http.StatusNotFound, fmt.Sprintf("Request for unknown model: '%s' version %.20s is not found", name, v))
			return
		}
	}
	get := ctx.IsGet() || ctx.IsHead()
	switch string(verb) {
	case "infer":
		if !ctx.IsPost() {
			fail(ctx, http.StatusMethodNotAllowed, "Method Not Allowed")
			return
		}
		s.infer(ctx, m, came)
	case "":
		s.describe(ctx, get, s.models[m].meta)
	case "ready":
		s.describe(ctx, get, nil)
	case "config":
		s.describe(ctx, get, s.config(m))
	case "stats":
		s.describe(ctx, get, oip.StatsResponse{ModelStats: s.stats()[m : m+1]})
	default:
		fail(ctx, http.StatusNotFound, "Not Found")
	}
}

// model is the model's index, −1 for none of that name.
func (s *server) model(name []byte) int {
	for i := range s.models {
		if s.models[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// describe answers with a document, nil for an empty one, where the method is
// the endpoint's.
func (s *server) describe(ctx *fasthttp.RequestCtx, allowed bool, document any) {
	if !allowed {
		fail(ctx, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	if document == nil {
		return
	}
	b, err := json.Marshal(document)
	if err != nil {
		fail(ctx, http.StatusInternalServerError, fmt.Sprintf("cannot encode the answer: %v", err))
		return
	}
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SetBodyRaw(b)
}

func fail(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SwapBody(oip.AppendError(ctx.Response.SwapBody(nil)[:0], text))
}

// exchange is the memory of one inference request.
type exchange struct {
	req oip.Request
	job job
	answerer
}

// headLength is the header that tells where binary data begins.
const headLength = "Inference-Header-Content-Length"

// infer answers an inference request.
func (s *server) infer(ctx *fasthttp.RequestCtx, m int, came time.Time) {
	x, _ := s.exchanges.Get().(*exchange)
	if x == nil {
		x = &exchange{job: job{done: make(chan struct{}, 1)}}
	}
	if err := s.answer(ctx, x, m, came); err != nil {
		s.queue.fail(m)
		status := http.StatusInternalServerError
		if own, ok := errors.AsType[*oip.Error](err); ok {
			status = own.Status
		}
		fail(ctx, status, err.Error())
	}
	select {
	case <-s.fleet.killed: // the job may not have ended
	default:
		s.exchanges.Put(x)
	}
}

func (s *server) answer(ctx *fasthttp.RequestCtx, x *exchange, m int, came time.Time) error {
	factor, fault := s.faults.draw(came.Sub(s.fleet.began), int(ctx.ConnRequestNum()))
	if fault != nil && s.instead(ctx, fault) {
		s.queue.fail(m)
		return nil
	}
	model := &s.models[m]
	length := -1
	if v := ctx.Request.Header.Peek(headLength); v != nil {
		var err error
		if length, err = oip.ParseHeadLength(v); err != nil {
			return err
		}
		if !s.binary {
			return &oip.Error{Status: http.StatusBadRequest, Message: "the binary tensor extension is not supported"}
		}
	}
	x.req.Model = model.Name
	if err := x.req.Parse(ctx.PostBody(), length, nil); err != nil {
		return err
	}
	if err := x.req.Check(model.meta, true, s.queue.most[m]); err != nil {
		return err
	}
	if poison := s.faults.poison(came.Sub(s.fleet.began), func(v int64) bool { return x.has(v, &x.req, model) }); poison != nil {
		s.instead(ctx, poison)
		s.queue.fail(m)
		return nil
	}
	j := &x.job
	j.model, j.rows, j.came, j.factor = m, x.req.Size(true), came, factor
	if err := s.queue.submit(j); err != nil {
		return &oip.Error{Status: http.StatusServiceUnavailable, Message: err.Error()}
	}
	// The answer is made while the emulated execution goes on.
	var spoil func([]oip.Tensor)
	if fault != nil && (fault.Kind == "rows" || fault.Kind == "shape" || fault.Kind == "type") {
		spoil = fault.spoil
	}
	msg := oip.Message{Body: ctx.Response.SwapBody(nil)[:0], HeadLength: -1}
	err := x.answerer.answer(&msg, model, &x.req, spoil)
	select {
	case <-j.done:
	case <-s.fleet.killed:
		return errors.New("the server was stopped")
	}
	s.fleet.late.add(time.Since(j.end))
	if err != nil {
		return err
	}
	ctx.Response.SwapBody(msg.Body)
	ctx.Response.Header.SetContentType("application/json")
	if msg.HeadLength >= 0 {
		ctx.Response.Header.SetContentType("application/octet-stream")
		ctx.Response.Header.Set(headLength, strconv.Itoa(msg.HeadLength))
	}
	if fault != nil {
		s.besides(ctx, fault)
	}
	return nil
}
