package profiler

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"motley/internal/oip"
)

func body(rows, columns int) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,%d],"data":[%s]}]}`, rows, columns,
		strings.TrimSuffix(strings.Repeat("1,", rows*columns), ","))
}

func TestRecordedBatches(t *testing.T) {
	rec, err := ReadRecording(strings.NewReader(body(1, 2) + "\n\n" + body(3, 2) + "\r\n" + body(2, 2)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := rec.source("m", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n < 40; n++ {
		calls, err := s.batch(n, rng)
		if err != nil {
			t.Fatal(err)
		}
		if got := items(calls); got != n {
			t.Errorf("a batch of %d has %d items", n, got)
		}
		for _, c := range calls {
			if c.Request.MergeKey(1, true) != s.requests[0].MergeKey(1, true) {
				t.Errorf("batch of %d: its members cannot be merged", n)
			}
		}
	}
	if whole, err := rec.source("m", nil, false); err != nil {
		t.Error(err)
	} else if calls, err := whole.batch(1, rng); err != nil || len(calls) != 1 {
		t.Errorf("a model that does not batch: %d calls, %v", len(calls), err)
	}
}

func TestRecordingRefuses(t *testing.T) {
	meta := &oip.ModelMetadata{Name: "m", Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 2}}}}
	for _, c := range []struct{ in, want string }{
		{"", "there are none"},
		{"\n\n", "there are none"},
		{"nonsense", "line 1"},
		{body(1, 2) + "\n\n{}", "line 3"},
		{body(1, 3), "line 1"},
		{body(1, 2) + "\n" + strings.Replace(body(1, 2), `]}`, `]}`+`],"parameters":{"a":1},"outputs":[{"name":"y"}`, 1), "line 2"},
		{strings.Replace(body(1, 2), "{", `{"parameters":{"sequence_id":7},`, 1), "line 1: it belongs to a sequence"},
	} {
		rec, err := ReadRecording(strings.NewReader(c.in))
		if err == nil {
			_, err = rec.source("m", meta, true)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: error %v, want one with %q", c.in, err, c.want)
		}
	}
}

// Whatever is recorded is refused, or makes batches of the size that is wanted.
func FuzzRecording(f *testing.F) {
	f.Add(body(1, 2)+"\n"+body(3, 2), 4)
	f.Add(body(0, 2), 1)
	f.Add(`{"inputs":[{"name":"s","datatype":"BYTES","shape":[2],"data":["a","b"]}],"id":"7"}`, 3)
	f.Fuzz(func(t *testing.T, in string, n int) {
		rec, err := ReadRecording(strings.NewReader(in))
		if err != nil {
			return
		}
		s, err := rec.source("m", nil, true)
		if err != nil {
			return
		}
		n = 1 + (n%64+64)%64
		calls, err := s.batch(n, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			return
		}
		got := 0
		for _, c := range calls {
			got += c.Request.Size(true)
		}
		if got != n {
			t.Errorf("a batch of %d has %d items", n, got)
		}
	})
}
