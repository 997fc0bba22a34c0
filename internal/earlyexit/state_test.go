package earlyexit

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
)

func trained(t testing.TB, mode Mode) (*Adaptive, Config) {
	cost := even(4, 0.004)
	c := Config{Mode: mode, Ramps: 4, Costs: []Cost{cost}, Window: 500, ClassTarget: 0.97}
	a := newAdaptive(t, c)
	replay(a, made(21, 3000, 4, 0), &cost, mode, 1, 0)
	return a, c
}

// TestStateGoesOn: a controller that was saved and loaded decides exactly as
// the one that was not.
func TestStateGoesOn(t *testing.T) {
	cost := even(4, 0.004)
	for _, mode := range []Mode{Off, Latency, Compute} {
		a, c := trained(t, mode)
		saved := a.AppendState([]byte("before"))
		if !bytes.HasPrefix(saved, []byte("before")) {
			t.Fatal("the buffer was not appended to")
		}
		b := newAdaptive(t, c)
		if err := b.Load(saved[6:]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.AppendState(nil), saved[6:]) {
			t.Error("what was loaded is saved differently")
		}
		rows := made(22, 2000, 4, 1)
		if x, y := replay(a, rows, &cost, mode, 2, 0), replay(b, rows, &cost, mode, 2, 0); !reflect.DeepEqual(x, y) {
			t.Errorf("mode %v: %+v before, %+v after", mode, x.agreement, y.agreement)
		}
		if x, y := a.Report(), b.Report(); !reflect.DeepEqual(x, y) && mode != Off {
			t.Errorf("reports differ: %+v, %+v", x, y)
		}
	}
}

func TestStateRefused(t *testing.T) {
	a, c := trained(t, Latency)
	good := a.AppendState(nil)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	version := bytes.Clone(good)
	version[len(stateMagic)] = 99
	other := c
	other.Window = 600
	target := c
	target.Target = 0.98
	mode := c
	mode.Mode = Compute
	ramps := Config{Mode: Latency, Ramps: 3, Window: 500}
	for _, tc := range []struct {
		name, want string
		data       []byte
		config     Config
	}{
		{"empty", "torn", nil, c},
		{"half", "torn", good[:len(good)/2], c},
		{"one byte short", "torn", good[:len(good)-1], c},
		{"one byte more", "torn", append(bytes.Clone(good), 0), c},
		{"a flipped bit", "checksum", flipped, c},
		{"another version", "version 99", version, c},
		{"something else", "foreign", []byte(`{"version": 1, "profiles": []}`), c},
		{"another window", "window", good, other},
		{"another target", "target", good, target},
		{"another mode", "mode", good, mode},
		{"other ramps", "ramps", good, ramps},
		{"not a number", "not a number", resealed(good, func(b []byte) { b[stateHead+40+7], b[stateHead+40+6] = 0x7f, 0xf8 }), c},
		{"too long inside", "too many", resealed(append(bytes.Clone(good), 1, 2, 3, 4), nil), c},
	} {
		b := newAdaptive(t, tc.config)
		before := b.AppendState(nil)
		err := b.Load(tc.data)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if !bytes.Equal(b.AppendState(nil), before) {
			t.Errorf("%s: the controller was changed", tc.name)
		}
	}
}

// resealed changes a state and makes its length and checksum right again.
func resealed(state []byte, change func([]byte)) []byte {
	b := bytes.Clone(state)
	if len(b) < stateHead+stateTail {
		return b
	}
	if change != nil {
		change(b)
	}
	body := b[:len(b)-stateTail]
	binary.LittleEndian.PutUint32(body[stateHead-4:], uint32(len(body)-stateHead))
	binary.LittleEndian.PutUint32(b[len(body):], crc32.Checksum(body, castagnoli))
	return b
}

// FuzzLoad: whatever is loaded is refused with a clear error, or works.
func FuzzLoad(f *testing.F) {
	a, c := trained(f, Compute)
	good := a.AppendState(nil)
	f.Add(good, uint32(0), uint64(0))
	f.Add([]byte("motley-exits\n\x01\x00"), uint32(7), uint64(3))
	f.Add(good[:100], uint32(80), ^uint64(0))
	cost := even(4, 0.004)
	rows := made(23, 300, 4, 0)
	f.Fuzz(func(t *testing.T, data []byte, at uint32, value uint64) {
		try := func(state []byte) {
			b := newAdaptive(t, c)
			err := b.Load(state)
			if err != nil {
				if m := err.Error(); !strings.Contains(m, "torn") && !strings.Contains(m, "foreign") {
					t.Fatalf("an error that does not say which: %v", err)
				}
				return
			}
			replay(b, rows, &cost, Compute, 1, 0)
			b.Report()
			b.reconsider()
		}
		try(data)
		// A good one with one number changed, and its checksum right.
		try(resealed(good, func(s []byte) {
			p := stateHead + int(at)%((len(s)-stateHead-stateTail)/8)*8
			binary.LittleEndian.PutUint64(s[p:], value)
		}))
	})
}
