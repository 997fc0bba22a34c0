package tracecontext

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// The standard's own cases, and those of its test suite.
func TestParse(t *testing.T) {
	zeros := strings.Repeat("0", 32)
	for _, c := range []struct {
		in, out string // out: as it is handed on; "" = refused
	}{
		{example, example},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", example},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", example},
		{"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what-comes-later", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", ""},
		{"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		{"00-" + zeros + "-b7ad6b7169203331-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		{"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333.-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", ""},
		{"0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		{".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-.0", ""},
		{"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01", ""},
		{" " + example, ""}, {"", ""}, {"00", ""}, {strings.Repeat("-", 55), ""},
	} {
		var got Context
		text := ""
		if got.Parse([]byte(c.in)) {
			text = string(got.Append(nil))
		} else if fmt.Sprint(got) != fmt.Sprint(Context{}) {
			t.Errorf("%q: refused, and left as %v", c.in, got)
		}
		if text != c.out {
			t.Errorf("%q: %q, want %q", c.in, text, c.out)
		}
	}
}

func TestValidState(t *testing.T) {
	members := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("k%d=v", i))
		}
		return strings.Join(all, ",")
	}
	for in, want := range map[string]bool{
		"":                                    false,
		" ,":                                  false,
		"rojo=00f067aa0ba902":                 true,
		"rojo=1,congo=t61rcWkgMzE":            true,
		"rojo=1 , congo=2":                    true,
		"rojo=1,,congo=2,":                    true,
		"rojo=1,rojo=2":                       false,
		"rojo":                                false,
		"=1":                                  false,
		"rojo=":                               false,
		"rojo=a=b":                            false,
		"Rojo=1":                              false,
		"1rojo=1":                             false,
		"_rojo=1":                             false,
		"ro_jo-*/9=1":                         true,
		"1tenant@system=1":                    true,
		"tenant@1system=1":                    false,
		"tenant@=1":                           false,
		"@system=1":                           false,
		"a@b@c=1":                             false,
		"rojo=a b":                            true,
		"rojo=a\x7f":                          false,
		"rojo=a\x1b":                          false,
		"rojo=\xff":                           false,
		"rojo=a\r\nx: y":                      false,
		strings.Repeat("z", 256) + "=1":       true,
		strings.Repeat("z", 257) + "=1":       false,
		strings.Repeat("t", 241) + "@s=1":     true,
		strings.Repeat("t", 242) + "@s=1":     false,
		"t@" + strings.Repeat("s", 14) + "=1": true,
		"t@" + strings.Repeat("s", 15) + "=1": false,
		"a=" + strings.Repeat("v", 256):       true,
		"a=" + strings.Repeat("v", 257):       false,
		members(32):                           true,
		members(33):                           false,
		"a=" + strings.Repeat("v", 250) + ",b=" + strings.Repeat("v", 250) + ",c=1":     true,  // 510
		"a=" + strings.Repeat("v", 252) + ",b=" + strings.Repeat("v", 252) + ",c=12345": false, // 516
	} {
		if got := ValidState([]byte(in)); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// form is the standard's grammar of a traceparent that is read as version 00.
var form = regexp.MustCompile(`^(?:00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}|([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?s:-.*)?)$`)

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"))
	f.Fuzz(func(t *testing.T, v []byte) {
		var c Context
		m := form.FindSubmatch(v)
		want := m != nil
		if want {
			trace, span := m[1], m[2]
			if trace == nil {
				want, trace, span = string(m[3]) != "ff" && string(m[3]) != "00", m[4], m[5]
			}
			want = want && len(bytes.Trim(trace, "0")) > 0 && len(bytes.Trim(span, "0")) > 0
		}
		if got := c.Parse(v); got != want {
			t.Fatalf("%q: %v, by the grammar %v", v, got, want)
		}
		if want && !bytes.Equal(c.Append(nil)[2:52], v[2:52]) {
			t.Errorf("%q is handed on as %q", v, c.Append(nil))
		}
	})
}

// FuzzState: what is handed on cannot end a header's line, and holds to the bounds.
func FuzzState(f *testing.F) {
	f.Add([]byte("rojo=1,congo@x=2"))
	member := regexp.MustCompile(`^([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$`)
	f.Fuzz(func(t *testing.T, v []byte) {
		want, seen := len(v) <= 512, map[string]bool{}
		for m := range strings.SplitSeq(string(v), ",") {
			if m = strings.Trim(m, " \t"); m == "" {
				continue
			}
			key, _, _ := strings.Cut(m, "=")
			want = want && member.MatchString(m) && !seen[key]
			seen[key] = true
		}
		want = want && len(seen) > 0 && len(seen) <= 32
		if got := ValidState(v); got != want {
			t.Errorf("%q: %v, by the grammar %v", v, got, want)
		}
	})
}

func TestBelow(t *testing.T) {
	var parent Context
	parent.Parse([]byte(example))
	parent.State = []byte("a=1")
	child := parent.Below(0)
	if child.Trace != parent.Trace || child.Span == parent.Span || child.Flags != 0 || string(child.State) != "a=1" || !child.Valid() {
		t.Errorf("below %v: %v", parent, child)
	}
	root := new(Context).Below(Sampled)
	if !root.Valid() || root.Flags != Sampled|Random || root.Trace == child.Trace {
		t.Errorf("a root: %v", root)
	}
	for _, n := range []uint64{1, 2, 1 << 63, ^uint64(0)} {
		if c := OfBatch(n); !c.Valid() || c.Trace == OfBatch(n+1).Trace || c.Span == OfBatch(n+1).Span {
			t.Errorf("batch %d: %v", n, c)
		}
	}
}

func TestAppendBatch(t *testing.T) {
	for _, n := range []uint64{1, 0xabc, 1 << 60, ^uint64(0)} {
		if got, want := string(AppendBatch([]byte("x "), n)), fmt.Sprintf("x batch-%016x", n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	v, state, buf := []byte(example), []byte("a=1,b@c=2"), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		var c Context
		if !c.Parse(v) || !ValidState(state) {
			t.Fatal("refused")
		}
		child := c.Below(Sampled)
		buf = AppendBatch(child.Append(buf[:0]), 77)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
