//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kind is how a client behaves.
type kind struct {
	gap   time.Duration // between an answer and the next request
	fresh bool          // a connection for each request
	large bool          // requests that do not fit what is read in one piece
	get   bool          // asks whether the router is alive
}

// tally is what became of requests.
type tally struct {
	sync.Mutex
	answered int
	closed   int      // answers that said that the connection is closed
	refused  int      // connections that were not opened
	unheard  int      // first requests of connections that were reset before they were accepted
	faults   []string // anything else

	clients sync.WaitGroup
	stop    chan struct{}
}

// end has the clients stop, and waits for them.
func (t *tally) end() {
	close(t.stop)
	t.clients.Wait()
}

// soFar is how many requests were answered.
func (t *tally) soFar() int {
	t.Lock()
	defer t.Unlock()
	return t.answered
}

func (t *tally) fault(format string, args ...any) {
	t.Lock()
	defer t.Unlock()
	if len(t.faults) < 10 {
		t.faults = append(t.faults, fmt.Sprintf(format, args...))
	}
}

func (t *tally) count(n *int) {
	t.Lock()
	defer t.Unlock()
	*n++
}

// run sends requests until the end, or until nobody accepts connections.
func (k kind) run(addr string, nth int, t *tally) {
	var c net.Conn
	var r *bufio.Reader
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-t.stop:
			return
		default:
		}
		first := c == nil
		if first {
			var err error
			if c, err = net.Dial("tcp", addr); err != nil {
				if c = nil; !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
					t.fault("dial: %v", err)
				}
				t.count(&t.refused)
				return
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			r = bufio.NewReader(c)
		}
		id := fmt.Sprintf("c%d-%d", nth, i)
		if _, err := io.WriteString(c, k.request(id)); err != nil {
			if first {
				t.count(&t.unheard)
				return
			}
			t.fault("%+v, request %d: cannot write: %v", k, i, err)
			return
		}
		if _, err := r.Peek(1); err != nil {
			if first && errors.Is(err, syscall.ECONNRESET) {
				t.count(&t.unheard)
				return
			}
			t.fault("%+v, request %d, the first of its connection: %v: no answer: %v", k, i, first, err)
			return
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.fault("%+v, request %d: %v", k, i, err)
			return
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !k.get && !strings.Contains(string(body), `"id":"`+id+`"`) {
			t.fault("%+v, request %d: status %d, %v: %.200s", k, i, res.StatusCode, err, body)
			return
		}
		t.count(&t.answered)
		if res.Close && !k.fresh {
			t.count(&t.closed)
		}
		if res.Close {
			_ = c.Close()
			c = nil
		}
		if k.gap > 0 {
			select {
			case <-t.stop:
			case <-time.After(k.gap):
			}
		}
	}
}

func (k kind) request(id string) string {
	end := ""
	if k.fresh {
		end = "Connection: close\r\n"
	}
	if k.get {
		return "GET /v2/health/live HTTP/1.1\r\nHost: h\r\n" + end + "\r\n"
	}
	body := fmt.Sprintf(`{"id":%q,"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`, id)
	if k.large {
		body += strings.Repeat(" ", 150<<10)
	}
	return fmt.Sprintf("POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n%s", end, len(body), body)
}

// exchange sends one request and reads the answer's body.
func exchange(c net.Conn, request string) ([]byte, error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != 200 {
		err = fmt.Errorf("status %d: %s", res.StatusCode, bytes.TrimSpace(body))
	}
	return body, err
}
