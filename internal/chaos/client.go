package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// patience is how long a client waits for an answer. The model's target is far
// below; a request that nothing came for is not answered, and not refused.
const patience = 8 * time.Second

// Client sends requests over kept connections, as many as it takes. It sends a
// request once, whatever happens: what a library would silently try again is to
// be seen.
type Client struct {
	address string

	mu struct {
		sync.Mutex
		idle   []*line
		opened int
		closed bool
	}
}

// line is a connection.
type line struct {
	net.Conn
	r    *bufio.Reader
	last time.Time // used
}

// keepIdle is how long connections are kept that a burst has left.
const keepIdle = 2 * time.Second

// NewClient makes a client of the server at an address.
func NewClient(address string) *Client { return &Client{address: address} }

// Close closes the idle connections, and each other one when it becomes idle.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	for _, l := range c.mu.idle {
		_ = l.Close() // nothing is on it
	}
	c.mu.idle = nil
}

// line is a connection that the server has not closed, as far as one can know.
func (c *Client) line() (*line, error) {
	for {
		c.mu.Lock()
		n := len(c.mu.idle)
		if n == 0 {
			c.mu.opened++
			c.mu.Unlock()
			break
		}
		l := c.mu.idle[n-1]
		c.mu.idle = c.mu.idle[:n-1]
		c.mu.Unlock()
		if l.quiet() {
			return l, nil
		}
		_ = l.Close()
	}
	nc, err := net.DialTimeout("tcp", c.address, patience)
	if err != nil {
		return nil, err
	}
	return &line{Conn: nc, r: bufio.NewReader(nc)}, nil
}

// quiet reports whether the connection is open and nothing has come on it.
func (l *line) quiet() bool {
	raw, err := l.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return quiet && err == nil
}

func (c *Client) keep(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		_ = l.Close()
		return
	}
	now := time.Now()
	l.last = now
	// The last one is used first, so the first ones have been idle for longest.
	old := 0
	for old < len(c.mu.idle) && now.Sub(c.mu.idle[old].last) > keepIdle {
		_ = c.mu.idle[old].Close() // nothing is on it
		old++
	}
	c.mu.idle = append(slices.Delete(c.mu.idle, 0, old), l)
}

// Do sends a request, waits for what becomes of it, and notes that in the
// record.
func (c *Client) Do(r *Record) {
	l, err := c.line()
	if err != nil {
		r.Outcome, r.Detail = Refused, err.Error()
		return
	}
	wait := patience
	if r.Leave > 0 {
		wait = r.Leave
	}
	_ = l.SetDeadline(time.Now().Add(wait)) // it fails where the connection does
	resp, body, err := l.exchange(r.wire(c.address))
	if err != nil {
		_ = l.Close()
		r.Detail = err.Error()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && r.Leave > 0:
			r.Outcome, r.Detail = Left, ""
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.Outcome = Silent
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			r.Outcome = Cut
		default:
			r.Outcome = Wrong // it is no HTTP
		}
		return
	}
	switch {
	case l.r.Buffered() > 0:
		r.Outcome, r.Detail = Wrong, "bytes after the answer"
		_ = l.Close()
	case resp.Close:
		_ = l.Close()
	default:
		_ = l.SetDeadline(time.Time{})
		defer c.keep(l)
	}
	if r.Outcome == Pending {
		r.judge(resp, body)
	}
}

// exchange sends a request and reads the answer.
func (l *line) exchange(request []byte) (*http.Response, []byte, error) {
	if _, err := l.Write(request); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// judge says which outcome an answer is.
func (r *Record) judge(resp *http.Response, body []byte) {
	r.Status = resp.StatusCode
	if id := resp.Header.Get("x-request-id"); id != r.requestID() && !(id == "" && r.Status == http.StatusServiceUnavailable) {
		r.Outcome, r.Detail = Wrong, fmt.Sprintf("the answer is for request %q: %.200q", id, body)
		return
	}
	if ms, err := strconv.ParseInt(resp.Header.Get("Retry-After-Ms"), 10, 64); err == nil {
		r.Retry = time.Duration(ms) * time.Millisecond
	}
	r.Detail = string(body)
	switch {
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
		r.Outcome = Rejected
	case r.Status >= 500:
		r.Outcome = Failed
	case r.Status != http.StatusOK:
		r.Outcome = Blamed
	default:
		head := -1
		if v := resp.Header.Get("Inference-Header-Content-Length"); v != "" {
			var err error
			if head, err = strconv.Atoi(v); err != nil || head < 0 {
				r.Outcome, r.Detail = Wrong, "its JSON has a length of "+v
				return
			}
		}
		r.Outcome, r.Detail = Answered, ""
		if err := r.check(body, head); err != nil {
			r.Outcome, r.Detail = Wrong, err.Error()
		}
	}
}
