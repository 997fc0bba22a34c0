package backend

import (
	"fmt"
	"io"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll is every event of a stream, as name=data, and how it ended.
func readAll(r io.Reader, limit int) (all []string, err error) {
	e := events{r: r, limit: limit}
	for {
		name, data, err := e.next()
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s=%s", name, data))
	}
}

func TestEvents(t *testing.T) {
	for stream, want := range map[string][]string{
		"":                                           nil,
		"event: ramp\ndata: {}\n\n":                  {"ramp={}"},
		"event: ramp\r\ndata: {}\r\n\r\n":            {"ramp={}"},
		"event:ramp\rdata:{}\r\r":                    {"ramp={}"},
		"\ufeffdata: a\n\ndata: b\n\n":               {"=a", "=b"},
		"data: a\ndata:\ndata:  b\n\n":               {"=a\n\n b"},
		": hello\n\nid: 7\nretry: 5\ndata: a\n:\n\n": {"=a"},
		"event: x\n\ndata: a\n\n":                    {"=a"}, // an event without data is none
		"event: x\nevent: y\ndata: a\n\n":            {"y=a"},
		"data\n\n":                                   {"="},
		"datax: a\nDATA: a\n data: a\n\n":            nil,
		"data: a\n\ndata: b\n":                       {"=a"}, // cut off
		"data: a: b\n\n":                             {"=a: b"},
	} {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream)), "with the end": iotest.DataErrReader(strings.NewReader(stream))} {
			if got, err := readAll(r, 1000); err != io.EOF || !slices.Equal(got, want) {
				t.Errorf("%q, %s: %q, %v, want %q", stream, name, got, err, want)
			}
		}
	}
	for _, stream := range []string{"data: " + strings.Repeat("a", 11) + "\n\n", "data: aaaaaa\ndata: aaaaaa\n\n", strings.Repeat("x", 100)} {
		if got, err := readAll(iotest.OneByteReader(strings.NewReader(stream)), 10); err != errEventTooLong {
			t.Errorf("%q: %q, %v", stream, got, err)
		}
	}
	if got, err := readAll(strings.NewReader("data: "+strings.Repeat("a", 10)+"\n\n"), 10); err != io.EOF || len(got) != 1 {
		t.Errorf("just fits: %q, %v", got, err)
	}
}

// slowEvents reads a whole stream the plain way.
func slowEvents(stream string) (all []string) {
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream)
	lines := strings.Split(stream, "\n")
	lines[0] = strings.TrimPrefix(lines[0], "\ufeff")
	name, data := "", []string(nil)
	for _, line := range lines[:len(lines)-1] {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if data != nil {
				all = append(all, name+"="+strings.Join(data, "\n"))
			}
			name, data = "", nil
		case field == "event":
			name = value
		case field == "data":
			data = append(data, value)
		}
	}
	return all
}

// dealt gives a stream in pieces whose lengths are bytes of cuts.
type dealt struct {
	rest string
	cuts []byte
}

func (d *dealt) Read(p []byte) (int, error) {
	if d.rest == "" {
		return 0, io.EOF
	}
	n := min(len(p), len(d.rest))
	if len(d.cuts) > 0 {
		n = min(n, 1+int(d.cuts[0]))
		d.cuts = d.cuts[1:]
	}
	copy(p, d.rest[:n])
	d.rest = d.rest[n:]
	return n, nil
}

// FuzzEvents: whatever the pieces, those of the chunked encoding and those of the
// reads, the events are those of the whole.
func FuzzEvents(f *testing.F) {
	f.Add("event: ramp\r\ndata: {\"a\":1}\r\ndata: x\r\n\r\n: c\n\nevent: final\ndata: {}\n\n", []byte{0, 3, 1, 7})
	f.Add("\ufeffdata: a\r\rdata:b\n\r\n", []byte{})
	f.Fuzz(func(t *testing.T, stream string, cuts []byte) {
		want := slowEvents(stream)
		got, err := readAll(&dealt{stream, cuts}, len(stream))
		if err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("%q in pieces %v: %q, %v, want %q", stream, cuts, got, err, want)
		}
		var wire strings.Builder
		w := httputil.NewChunkedWriter(&wire)
		for pieces := (&dealt{stream, cuts}); pieces.rest != ""; {
			p := make([]byte, 256)
			n, _ := pieces.Read(p)
			_, _ = w.Write(p[:n])
		}
		_ = w.Close()
		slices.Reverse(cuts)
		got, err = readAll(httputil.NewChunkedReader(&dealt{wire.String(), cuts}), len(stream))
		if err != io.EOF || !slices.Equal(got, want) {
			t.Fatalf("%q chunked: %q, %v, want %q", stream, got, err, want)
		}
	})
}
