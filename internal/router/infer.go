package router

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

// infer answers one inference request.
func (s *Server) infer(ctx *fasthttp.RequestCtx, x *exchange) {
	err := s.prepare(ctx, x)
	if err == nil {
		x.begin(ctx)
		err = s.ask(ctx, x)
	}
	if err != nil {
		s.refuse(ctx, x, err)
		return
	}
	s.answer(ctx, x)
	x.apply(ctx)
}

// ask has the loop, or the model's own way, answer the request, unless its client leaves.
func (s *Server) ask(ctx *fasthttp.RequestCtx, x *exchange) error {
	do := s.loop.DoContext
	if x.model.Do != nil {
		do = x.model.Do
	}
	conn, ok := ctx.Conn().(*clientConn)
	if !ok {
		if x.model.Do == nil {
			return s.loop.Do(&x.call)
		}
		return do(context.Background(), &x.call)
	}
	waits, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn.watch(cancel)
	defer conn.endWatch()
	err := do(waits, &x.call)
	if err != nil && waits.Err() != nil {
		return errLeft
	}
	return err
}

// begin has the answer written to the response's own buffer, which the HTTP
// server pools.
func (x *exchange) begin(ctx *fasthttp.RequestCtx) {
	x.asks()
	x.call.Call.Response = oip.Message{Body: ctx.Response.SwapBody(nil)[:0], HeadLength: -1}
}

// prepare reads the request into x.call. Its errors are the client's fault, or
// that of a bug in the codec, which must not take the other clients down.
func (s *Server) prepare(ctx *fasthttp.RequestCtx, x *exchange) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("BUG: panic while reading a request", "panic", p, "stack", string(debug.Stack()))
			err = &oip.Error{Status: http.StatusInternalServerError, Message: "internal error while reading the request"}
		}
	}()
	body, err := s.body(ctx, x)
	if err != nil {
		return err
	}
	length, err := x.headers.headLength(len(body))
	if err != nil {
		return err
	}
	x.head.Model = x.model.Name
	if err := x.head.Parse(body, length, &s.cfg.Limits); err != nil {
		return err
	}
	streamed := x.target.endpoint == modelStream
	if streamed {
		if err := jsonOnly(&x.head); err != nil {
			return err
		}
	}
	info := x.model.Info()
	whole := streamed || !info.Splits || !x.head.Splittable(info.Metadata, info.Batched)
	most := info.MaxBatch
	if !whole {
		most = 0
	}
	if err := x.head.Check(info.Metadata, info.Batched, most); err != nil {
		return err
	}
	timeout, err := x.headers.timeout(x.head.Timeout)
	if err != nil {
		return err
	}
	x.call.Call.Request = &x.head
	x.call.Model = x.model.ID
	x.call.Size = x.head.Size(info.Batched)
	x.call.Timeout = timeout
	x.call.Priority = x.head.Priority
	x.call.MergeKey = x.head.MergeKey(uint64(x.model.ID), info.Batched)
	x.call.Whole = whole
	x.call.Worker, x.call.Exit = -1, -1
	return x.exits()
}

// body returns the request's body, decompressed into x.spare where it came
// compressed.
func (s *Server) body(ctx *fasthttp.RequestCtx, x *exchange) ([]byte, error) {
	body := ctx.PostBody()
	if len(body) > s.cfg.MaxBody {
		return nil, tooLarge(bodyTooLarge(s.cfg.MaxBody))
	}
	if x.headers.encodings == 0 {
		return body, nil
	}
	enc := contentEncoding(x.headers.contentEncoding)
	if x.headers.encodings > 1 || enc == unsupported {
		ctx.Response.Header.Set("Accept-Encoding", acceptedEncodings)
		return nil, &oip.Error{
			Status: http.StatusUnsupportedMediaType,
			Message: fmt.Sprintf("Content-Encoding %s is not supported, use one of: %s",
				quote(x.headers.contentEncoding), acceptedEncodings),
		}
	}
	if enc == identity {
		return body, nil
	}
	var err error
	x.spare, err = s.decode(x, body, enc)
	return x.spare, err
}

// headLength returns the value of Inference-Header-Content-Length for a body
// of size bytes: −1 when the header is absent.
func (h *headers) headLength(size int) (int, error) {
	v := h.length
	if v == nil {
		return -1, nil
	}
	if h.lengthConflict {
		return 0, badLength(fmt.Sprintf("%s was sent twice with different values", headerLength))
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || !digits(v) {
		return 0, badLength(fmt.Sprintf("Unable to parse %s, got: %s", headerLength, cut(v)))
	}
	if n > int64(size) {
		return 0, badLength(fmt.Sprintf("inference header size should be in range (0, %d), got: %d", size, n))
	}
	return int(n), nil
}

func badLength(text string) error {
	return &oip.Error{Status: http.StatusBadRequest, Message: text}
}

// answer puts the worker's response into ctx, and its headers into x.lines.
func (s *Server) answer(ctx *fasthttp.RequestCtx, x *exchange) {
	msg := x.call.Call.Response
	if msg.HeadLength >= 0 {
		x.lines = append(x.lines, "Content-Type: application/octet-stream\r\n"...)
		x.count(headerLength, msg.HeadLength)
	} else {
		x.lines = append(x.lines, "Content-Type: application/json\r\n"...)
	}
	x.num = appendTiming(x.num[:0], x.call.Queued, x.call.Ran)
	x.lines = appendLine(x.lines, headerTiming, x.num)
	x.count(headerBatch, x.call.Batch)
	if x.call.Parts > 1 {
		x.count(headerParts, x.call.Parts)
	}
	if x.model.early(x.call.Exit) {
		x.count(headerExit, x.call.Exit)
	}

	body := msg.Body
	if len(body) >= minCompress {
		if enc := acceptedEncoding(x.headers.acceptEncoding); enc != identity {
			// The answer trades places with the spare buffer, which the
			// request's body no longer needs.
			encoded := appendEncoded(x.spare[:0], body, enc)
			x.spare, body = body, encoded
			x.lines = appendLine(x.lines, "Content-Encoding", []byte(enc.name()))
		}
		x.lines = append(x.lines, "Vary: Accept-Encoding\r\n"...)
	}
	ctx.Response.SwapBody(body)
	ctx.SetStatusCode(fasthttp.StatusOK)
}

// count adds a header with a number.
func (x *exchange) count(name string, n int) {
	x.num = strconv.AppendInt(x.num[:0], int64(n), 10)
	x.lines = appendLine(x.lines, name, x.num)
}

// appendLine appends a header as it goes out.
func appendLine(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// appendTiming appends a Server-Timing value, in milliseconds.
func appendTiming(dst []byte, queued, ran time.Duration) []byte {
	dst = appendMillis(append(dst, "queue;dur="...), queued)
	return appendMillis(append(dst, ", run;dur="...), ran)
}

// appendMillis appends d in milliseconds with three decimals.
func appendMillis(dst []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	dst = strconv.AppendInt(dst, us/1000, 10)
	us %= 1000
	return append(dst, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}
