package router

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/http1"
	"motley/internal/reactor"
)

// maxInPlace is the largest body of a request that is read on a reactor, in
// bytes: to read larger ones would keep other clients waiting. inlineAnswer is
// the largest answer that is copied behind its head, to go out in one piece.
const (
	maxInPlace   = 128 << 10
	inlineAnswer = 16 << 10
)

// talk is a request on a reactor, from its first byte to the last of its answer.
// Talks are reused.
type talk struct {
	front   *front
	client  *client
	in      []byte // what has come
	whole   int    // of which the request is so many bytes
	request http1.Request
	hangUp  bool // the connection is closed after the answer

	ctx  fasthttp.RequestCtx // holds the answer, as the HTTP library's handlers make it
	x    *exchange
	out  []byte // the answer's head, and a small body
	left [2][]byte
}

func newTalk(f *front) *talk {
	t := &talk{front: f, in: make([]byte, 0, 4<<10)}
	t.ctx.Init2(nil, httpLog{f.server.log}, false)
	return t
}

// room is where the next bytes go, at least so many.
func (t *talk) room(least int) []byte {
	t.in = slices.Grow(t.in, least)
	return t.in[len(t.in):cap(t.in)]
}

// begins reports whether the request, which is whole, can be answered here: a plain
// inference request, of which the path need not be put in order first.
func (t *talk) begins() bool {
	r := &t.request
	return r.Post && !r.Encoded && ordered(r.Path) && route(r.Path).endpoint == modelInfer
}

// ordered reports whether a path is what it would be after normalisation.
func ordered(path []byte) bool {
	last := byte(0)
	for _, c := range path {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == ':', c == '@':
		case c == '/', c == '.':
			if last == '/' {
				return false
			}
		default:
			return false
		}
		last = c
	}
	return true
}

// begin starts to answer the request.
func (t *talk) begin(c *client) {
	s, r := t.front.server, &t.request
	t.client, t.whole, t.hangUp = c, r.Head+r.Length, r.Close
	ctx := &t.ctx
	t.open()
	ctx.Request.Header.SetMethod(fasthttp.MethodPost)
	ctx.Request.SetRequestURIBytes(r.Path)
	ctx.Request.SetBodyRaw(t.in[r.Head:t.whole])
	t.x = s.acquire(route(r.Path))
	x := t.x
	x.peer = c.peer
	x.headers.take(r.Fields)
	s.takeTenant(&x.headers, r.Fields)
	s.identify(x)
	if !s.known(ctx, x) {
		x.apply(ctx)
		t.finish()
		return
	}
	if err := s.prepare(ctx, x); err != nil {
		t.Answered(err)
		return
	}
	x.begin(ctx)
	if x.model.Do != nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.leave = cancel
		go func() {
			defer cancel()
			err := x.model.Do(ctx, &x.call)
			if err != nil && ctx.Err() != nil {
				err = errLeft
			}
			t.Answered(err)
		}()
		return
	}
	x.call.Call.Home = c.loop
	c.asked, c.leave = s.loop.Begin(&x.call, t), nil
}

// open makes the answer's form ready.
func (t *talk) open() {
	t.ctx.Response.Reset()
	t.ctx.Response.Header.SetNoDefaultContentType(true)
	t.ctx.Response.Header.SetServer(t.front.server.cfg.Name)
}

// Answered implements live.Waiter.
func (t *talk) Answered(err error) {
	s := t.front.server
	switch {
	case err != nil:
		t.x.apply(&t.ctx)
		s.refuse(&t.ctx, t.x, err)
	case len(t.x.call.Call.Response.Body) >= inlineAnswer && t.x.headers.acceptEncoding != nil:
		// To compress takes long enough to keep others waiting.
		go func() {
			s.answer(&t.ctx, t.x)
			t.x.apply(&t.ctx)
			t.finish()
		}()
		return
	default:
		s.answer(&t.ctx, t.x)
	}
	t.finish()
}

// finish sends the answer.
func (t *talk) finish() {
	x := t.x
	t.x = nil
	t.out = t.out[:0]
	if len(x.lines) > 0 { // an answer of a worker, all of whose headers are there
		t.out = append(append(t.out, t.front.status(time.Now())...), x.lines...)
	}
	t.front.server.finish(&t.ctx, x)
	t.send()
}

// refuse answers what has come with a fault.
func (t *talk) refuse(c *client, f *http1.Fault) {
	t.client, t.hangUp, t.whole, t.out = c, true, len(t.in), t.out[:0]
	t.open()
	t.front.server.turnDown(&t.ctx, f, t.client.peer)
	t.send()
}

// send writes the answer out, of which t.out may have the beginning.
func (t *talk) send() {
	resp := &t.ctx.Response
	body := resp.Body()
	t.hangUp = t.hangUp || t.front.server.end.parting.Load()
	if len(t.out) > 0 {
		t.out = append(t.out, "Content-Length: "...)
		t.out = strconv.AppendInt(t.out, int64(len(body)), 10)
		if t.hangUp {
			t.out = append(t.out, "\r\nConnection: close"...)
		}
		t.out = append(t.out, "\r\n\r\n"...)
	} else {
		resp.Header.SetContentLength(len(body))
		if t.hangUp {
			resp.Header.SetConnectionClose()
		}
		t.out = resp.Header.AppendBytes(t.out)
	}
	if len(body) <= inlineAnswer {
		t.out, body = append(t.out, body...), nil
	}
	t.left = [2][]byte{t.out, body}
	t.flush()
}

// flush writes what is left of the answer.
func (t *talk) flush() {
	c := t.client
	n, err := reactor.Write(c.fd, t.left[0], t.left[1])
	k := min(n, len(t.left[0]))
	t.left[0], t.left[1] = t.left[0][k:], t.left[1][n-k:]
	switch {
	case err == nil:
		c.next(t)
	case err != reactor.ErrWouldBlock:
		c.finish()
	case c.now() == writing: // it has as long as it was given
	default:
		// The loop tries once more, and then waits for room: the news of it may have
		// come before the state was set.
		owed := len(t.left[0]) + len(t.left[1])
		t.front.server.budget.owe(owed)
		c.held += owed
		c.wait(t.front.server.cfg.WriteTimeout)
		c.set(writing)
		c.loop.Post(c)
	}
}

// rest moves what came behind the request to the front, and reports whether
// there is any.
func (t *talk) rest() bool {
	n := copy(t.in, t.in[t.whole:])
	t.in = t.in[:n]
	t.reset()
	t.in = t.in[:n]
	return n > 0
}

// reset makes t ready for the next request, and lets go of buffers too large to keep.
func (t *talk) reset() {
	t.client, t.x, t.whole, t.hangUp = nil, nil, 0, false
	t.request = http1.Request{Fields: t.request.Fields[:0]}
	t.left = [2][]byte{}
	t.ctx.Request.ResetBody()
	if cap(t.in) > maxInPlace+maxInPlace/2 && len(t.in) == 0 {
		t.in = make([]byte, 0, 4<<10)
	}
	t.in = t.in[:0]
}
