package accesslog

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"motley/internal/tracecontext"
)

func example() Entry {
	var place tracecontext.Context
	place.Parse([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	return Entry{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6_789_000, time.FixedZone("", 3600)), ID: []byte("run-7/a"), Trace: &place, Tenant: "team-a",
		Model: []byte("adder"), Version: []byte("1"), Method: []byte("POST"), Path: []byte("/v2/models/adder/versions/1/infer"),
		Status: 200, Outcome: Answered, Items: 3, Worker: "w0", Type: "g4dn.xlarge", Batch: 8, Merged: 0xff,
		Parts: 1, Attempts: 2, Ran: true, Queued: 1234 * time.Microsecond, Service: 5678 * time.Microsecond, Total: 7 * time.Millisecond,
		Exit: 1, In: 100, Out: 200, Client: netip.MustParseAddrPort("192.0.2.1:5000"),
	}
}

// refused is a line of which little is known.
func refused() Entry {
	return Entry{
		Time: time.Unix(0, 0), ID: []byte("x"), Status: 429, Outcome: Rejected, Reason: "queue_full", Exit: -1, RetryAfter: time.Second,
		Total: time.Microsecond, Error: `its "queue" is full`, Client: netip.MustParseAddrPort("[::1]:5000"),
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		entry      Entry
		settings   Settings
		json, text string
	}{
		{
			example(), Settings{Client: true},
			`{"time":"2026-01-02T02:04:05.006789Z","id":"run-7/a","trace_id":"0af7651916cd43dd8448eb211c80319c","tenant":"team-a",` +
				`"model":"adder","version":"1","method":"POST","path":"/v2/models/adder/versions/1/infer","status":200,"outcome":"answered",` +
				`"reason":null,"items":3,"worker":"w0","instance_type":"g4dn.xlarge","batch_items":8,"batch_id":"batch-00000000000000ff",` +
				`"parts":1,"attempts":2,"queue_ms":1.234,"service_ms":5.678,"total_ms":7.000,"exit":1,"bytes_in":100,"bytes_out":200,` +
				`"retry_after_ms":null,"client":"192.0.2.1:5000","error":null}` + "\n",
			"time=2026-01-02T02:04:05.006789Z id=run-7/a trace_id=0af7651916cd43dd8448eb211c80319c tenant=team-a model=adder version=1 method=POST " +
				"path=/v2/models/adder/versions/1/infer status=200 outcome=answered items=3 worker=w0 instance_type=g4dn.xlarge batch_items=8 " +
				"batch_id=batch-00000000000000ff parts=1 attempts=2 queue_ms=1.234 service_ms=5.678 total_ms=7.000 exit=1 bytes_in=100 bytes_out=200 " +
				"client=192.0.2.1:5000\n",
		},
		{
			refused(), Settings{},
			`{"time":"1970-01-01T00:00:00.000000Z","id":"x","trace_id":null,"tenant":null,"model":null,"version":null,"method":null,"path":null,` +
				`"status":429,"outcome":"rejected","reason":"queue_full","items":null,"worker":null,"instance_type":null,"batch_items":null,` +
				`"batch_id":null,"parts":null,"attempts":null,"queue_ms":null,"service_ms":null,"total_ms":0.001,"exit":null,"bytes_in":0,` +
				`"bytes_out":0,"retry_after_ms":1000.000,"client":null,"error":"its \"queue\" is full"}` + "\n",
			`time=1970-01-01T00:00:00.000000Z id=x status=429 outcome=rejected reason=queue_full total_ms=0.001 bytes_in=0 bytes_out=0 ` +
				`retry_after_ms=1000.000 error="its \"queue\" is full"` + "\n",
		},
	} {
		if got := string(c.entry.append(nil, &settings{Settings: c.settings})); got != c.json {
			t.Errorf("JSON\n%s, want\n%s", got, c.json)
		} else if !json.Valid([]byte(got)) {
			t.Errorf("not JSON: %s", got)
		}
		c.settings.Text = true
		if got := string(c.entry.append(nil, &settings{Settings: c.settings})); got != c.text {
			t.Errorf("text\n%s, want\n%s", got, c.text)
		}
	}
	for o, want := range map[Outcome]string{0: "", Answered: "answered", Rejected: "rejected", Failed: "failed", Left: "left"} {
		if o.String() != want {
			t.Errorf("outcome %d is %q", o, o)
		}
	}
}

// hostile are texts by which a log, or who reads it, could be deceived.
var hostile = []string{
	"a\r\nb", "\n{\"status\":200}", "\x1b[2J\x1b[31mred", "\x00", "\x7f", "\u009b31m", "\xff\xfe\x80", "\xc3", "a\u2028b\u2029c",
	"\u202egnp.exe", "\u200b", "a b=c \"d\" \\", "é漢🙂", "\U000e0001", strings.Repeat("\x01", 5000), strings.Repeat("é", 200) + "x",
}

// TestHostileLines: whatever a client sends, one request is one line, of printable
// characters, and says what was sent.
func TestHostileLines(t *testing.T) {
	for _, h := range hostile {
		checkHostile(t, []byte(h))
	}
}

func FuzzLines(f *testing.F) {
	for _, h := range hostile {
		f.Add([]byte(h))
	}
	f.Fuzz(func(t *testing.T, v []byte) { checkHostile(t, v) })
}

func checkHostile(t *testing.T, v []byte) {
	t.Helper()
	e := example()
	e.ID, e.Model, e.Version, e.Method, e.Path, e.Error, e.Tenant, e.Reason = v, v, v, v, v, string(v), string(v), string(v)
	for _, text := range []bool{false, true} {
		got := e.append(nil, &settings{Settings: Settings{Text: text}})
		body, ended := strings.CutSuffix(string(got), "\n")
		if !ended || !utf8.ValidString(body) || strings.ContainsFunc(body, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q gives the line %q", v, got)
		}
		if text {
			if n := len(fields(t, body)); len(v) > 0 && n != 25 || len(v) == 0 && n != 17 {
				t.Fatalf("%q gives %d words: %s", v, n, body)
			}
			continue
		}
		var told map[string]any
		if err := json.Unmarshal(got, &told); err != nil || len(told) != 27 {
			t.Fatalf("%q gives %s: %v, %d fields", v, got, err, len(told))
		}
		// A conversion to runes and back replaces each byte that is no UTF-8.
		want := any(string([]rune(string(v[:min(len(v), maxText)]))))
		if len(v) == 0 {
			want = nil
		}
		for _, name := range []string{"id", "model", "version", "method", "path", "error", "tenant", "reason"} {
			if told[name] != want {
				t.Fatalf("%s: %q became %q, want %q", name, v, told[name], want)
			}
		}
	}
}

// fields takes a line of text apart: its values are bare words or JSON strings.
func fields(t *testing.T, body string) (all []string) {
	t.Helper()
	for body != "" {
		name, rest, ok := strings.Cut(body, "=")
		if !ok || strings.ContainsAny(name, " \"") {
			t.Fatalf("no field: %q", body)
		}
		value, rest2, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			d := json.NewDecoder(strings.NewReader(rest))
			if err := d.Decode(&value); err != nil {
				t.Fatalf("%q: %v", rest, err)
			}
			rest2 = strings.TrimPrefix(rest[d.InputOffset():], " ")
		}
		all, body = append(all, name+"="+value), rest2
	}
	return all
}
