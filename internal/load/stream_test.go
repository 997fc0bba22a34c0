package load

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/mono"
)

// kept is what a stream was read as.
type kept struct {
	infos   []PhaseInfo
	records []Record
	ends    int
}

func (k *kept) Phase(i *PhaseInfo) error {
	k.infos = append(k.infos, *i)
	return nil
}
func (k *kept) Record(r *Record) { k.records = append(k.records, *r) }
func (k *kept) End()             { k.ends++ }

var someRecords = []Record{
	{At: 5, Free: 1, Sent: 2, Done: 3, Rows: 4, Right: 3, Status: 200, Model: 1, Outcome: OK, Exit: 2, Labelled: true},
	{At: mono.Time(time.Hour), Done: time.Second, Free: time.Second, Rows: 1, Outcome: Refused, Exit: -1, Warm: true},
	{At: 7, Sent: 2, Done: 3, Status: 503, Outcome: Status, Exit: -1},
}

func written(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	p := testPlan(t, "exponential")
	p.Targets = []Target{{URL: "http://a"}, {URL: "http://b"}}
	s, err := NewStream(&b)
	for _, ph := range p.Phases[:2] {
		err = errors.Join(err, s.Phase(p, ph, 25*time.Millisecond), s.Add(someRecords), s.Add(nil), s.End())
	}
	if err = errors.Join(err, s.block('?', []byte("what a later version adds")), s.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStream(t *testing.T) {
	var k kept
	b := written(t)
	if err := Read(bytes.NewReader(b), &k); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(someRecords)
	for _, r := range someRecords {
		r.Phase = 1
		want = append(want, r)
	}
	if !slices.Equal(k.records, want) || k.ends != 2 {
		t.Errorf("%+v, %d ends", k.records, k.ends)
	}
	if i := k.infos[1]; i.Target != "http://b" || strings.Join(i.Models, " ") != "a b" || i.Rate != 1000 || i.QoSNS != 25e6 || i.WarmNS != 1e8 || i.SpanNS != 1e9 || i.Seed != 7 {
		t.Errorf("%+v", i)
	}
	for cut := range b {
		var k kept
		err := Read(bytes.NewReader(b[:cut]), &k)
		if cut < len(magic) && err == nil || err != nil && cut >= len(magic) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
		if !slices.Equal(k.records, want[:len(k.records)]) {
			t.Errorf("cut at %d: other records", cut)
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	bad := func(change func(*Record)) string {
		r := someRecords[0]
		change(&r)
		return string(r.append(nil))
	}
	block := func(kind byte, data string) string {
		return string([]byte{kind, byte(len(data)), byte(len(data) >> 8), 0, 0}) + data
	}
	phase := block('P', `{"models":["a","b"]}`)
	for name, text := range map[string]string{
		"nothing":                  "",
		"another file":             "PK\x03\x04........",
		"a later version":          magic[:7] + "\x02",
		"records of no phase":      magic + block('R', ""),
		"a phase that is no JSON":  magic + block('P', "{"),
		"a phase without models":   magic + block('P', `{}`),
		"a negative rate":          magic + block('P', `{"models":["a"],"rate_qps":-1}`),
		"a warm-up of ages":        magic + block('P', `{"models":["a"],"warm_ns":9000000000000000000}`),
		"half a record":            magic + phase + block('R', "1234"),
		"a huge block":             magic + "R\xff\xff\xff\xff",
		"a negative time":          magic + phase + block('R', bad(func(r *Record) { r.At = -1 })),
		"an instant of ages":       magic + phase + block('R', bad(func(r *Record) { r.At = mono.Never })),
		"another model":            magic + phase + block('R', bad(func(r *Record) { r.Model = 2 })),
		"another outcome":          magic + phase + block('R', bad(func(r *Record) { r.Outcome = outcomes })),
		"another exit":             magic + phase + block('R', bad(func(r *Record) { r.Exit = -2 })),
		"answered before sent":     magic + phase + block('R', bad(func(r *Record) { r.Sent = 4 })),
		"sent before free":         magic + phase + block('R', bad(func(r *Record) { r.Free = 3 })),
		"more right than there is": magic + phase + block('R', bad(func(r *Record) { r.Right = 5 })),
	} {
		if err := Read(strings.NewReader(text), &kept{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(magic))
	f.Add([]byte(magic + "P\x10\x00\x00\x00{\"models\":[\"a\"]}R\x00\x00\x00\x00E\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var k kept
		if Read(bytes.NewReader(b), &k) == nil && string(b[:7]) != magic[:7] {
			t.Error("something else was read")
		}
		if len(k.records)*recordSize > len(b) {
			t.Errorf("%d records of %d bytes", len(k.records), len(b))
		}
		for _, r := range k.records { // what is taken is written as it was
			again, err := parseRecord(r.append(nil))
			again.Phase = r.Phase
			if err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
	})
}
