package http1

import (
	"strings"
	"testing"
)

const most = 256 << 20

// TestReply reads answers whole and byte by byte (the long ones by more): both must come to the same.
func TestReply(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, text string
		status     int // 0: garbled; −1: more is needed
		body       string
		check      func(r *Reply) bool
	}{
		{"length", ok + "Content-Length: 5\r\n\r\nhello", 200, "hello", nil},
		{"no body", ok + "content-length: 0\r\n\r\n", 200, "", nil},
		{"no reason", "HTTP/1.1 503\r\nContent-Length: 1\r\n\r\nx", 503, "x", nil},
		{"the same length twice", ok + "Content-Length: 2\r\nContent-Length:2 \r\n\r\nab", 200, "ab", nil},
		{"chunks", ok + "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 200, "abc0123456789", nil},
		{"trailers", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nZ: w\r\n\r\n", 200, "a", nil},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", nil},
		{"what the router adds", ok + "Content-Length: 1\r\nInference-Header-Content-Length: 17\r\nX-Motley-Exit: 3\r\n\r\nx", 200, "x",
			func(r *Reply) bool { return r.HeadLength == 17 && r.Exit == 3 && !r.HangUp }},
		{"absent", ok + "Content-Length: 1\r\n\r\nx", 200, "x", func(r *Reply) bool { return r.HeadLength == -1 && r.Exit == -1 }},
		{"close", ok + "Connection: Close\r\nContent-Length: 1\r\n\r\nx", 200, "x", func(r *Reply) bool { return r.HangUp }},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", func(r *Reply) bool { return r.HangUp }},
		{"HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", func(r *Reply) bool { return !r.HangUp }},

		{"cut head", "HTTP/1.1 200 OK\r\nContent-Le", -1, "", nil},
		{"cut body", ok + "Content-Length: 5\r\n\r\nhell", -1, "", nil},
		{"cut chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhell", -1, "", nil},
		{"cut trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", -1, "", nil},

		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 0, "", nil},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", 0, "", nil},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", 0, "", nil},
		{"status of letters", "HTTP/1.1 abc OK\r\n\r\n", 0, "", nil},
		{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", 0, "", nil},
		{"neither length nor chunks", ok + "\r\n", 0, "", nil},
		{"both", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0, "", nil},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0, "", nil},
		{"negative length", ok + "Content-Length: -1\r\n\r\n", 0, "", nil},
		{"length with a sign", ok + "Content-Length: +1\r\n\r\na", 0, "", nil},
		{"huge length", ok + "Content-Length: 99999999999\r\n\r\n", 0, "", nil},
		{"length past 64 bits", ok + "Content-Length: 99999999999999999999\r\n\r\n", 0, "", nil},
		{"compressed transfer", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, "", nil},
		{"header without a colon", ok + "Nonsense\r\nContent-Length: 0\r\n\r\n", 0, "", nil},
		{"space before the colon", ok + "Content-Length : 0\r\n\r\n", 0, "", nil},
		{"head length of letters", ok + "Content-Length: 0\r\nInference-Header-Content-Length: x\r\n\r\n", 0, "", nil},
		{"chunk of letters", ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 0, "", nil},
		{"chunk with a sign", ok + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n", 0, "", nil},
		{"chunk without its end", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 0, "", nil},
		{"empty chunk line", ok + "Transfer-Encoding: chunked\r\n\r\n\r\n", 0, "", nil},
		{"204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx", 0, "", nil},
		{"endless head", ok + "X: " + strings.Repeat("y", maxHead), 0, "", nil},
		{"endless chunk line", ok + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("y", 300), 0, "", nil},
	} {
		for _, step := range []int{len(c.text), 1 + len(c.text)/2000} {
			var r Reply
			end, err := 0, error(nil)
			at := 0
			for at < len(c.text) && end == 0 && err == nil {
				at = min(at+step, len(c.text))
				end, err = r.Parse([]byte(c.text[:at]), most)
			}
			status := r.Status
			switch {
			case err != nil:
				status = 0
			case end == 0:
				status = -1
			}
			if status != c.status {
				t.Errorf("%s, %d bytes at a time: status %d (%v), want %d", c.name, step, status, err, c.status)
				continue
			}
			if status <= 0 {
				continue
			}
			if got := string(r.Content([]byte(c.text), end)); got != c.body || end != len(c.text) {
				t.Errorf("%s: body %q up to %d, want %q up to %d", c.name, got, end, c.body, len(c.text))
			}
			if c.check != nil && !c.check(&r) {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
	}
}

// FuzzReply: whatever comes, whole or in two pieces, is understood alike, and
// the end lies within it.
func FuzzReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), uint16(20))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"), uint16(50))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var whole, pieces Reply
		end, err := whole.Parse(b, most)
		if end < 0 || end > len(b) || err != nil && end != 0 {
			t.Fatalf("end %d of %d, %v", end, len(b), err)
		}
		e, perr := pieces.Parse(b[:min(int(cut), len(b))], most)
		if perr == nil && e == 0 {
			e, perr = pieces.Parse(b, most)
		}
		if err == nil && (perr != nil || e != end) {
			t.Fatalf("in pieces %d, %v; whole %d", e, perr, end)
		}
		if end > 0 {
			n := len(whole.Content(b, end))
			if n > len(b) || whole.Length >= 0 && n != whole.Length {
				t.Fatalf("a body of %d bytes", n)
			}
		}
	})
}
