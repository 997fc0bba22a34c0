package router

import (
	"testing"
	"time"
)

func TestRoute(t *testing.T) {
	for _, c := range []struct {
		path           string
		want           endpoint
		model, version string
	}{
		{"/v2", serverMetadata, "", ""},
		{"/v2/models/a/infer", modelInfer, "a", ""},
		{"/v2/models/a/versions/12/infer", modelInfer, "a", "12"},
		{"/v2/models/a/versions/12", modelMetadata, "a", "12"},
		{"/v2/models/a/versions/", noEndpoint, "", ""},
		{"/v2/models/a/versions", noEndpoint, "", ""},
		{"/v2/models/a/versions/1/", noEndpoint, "", ""},
		{"/v2/models/a/infer/", noEndpoint, "", ""},
		{"/v2/models/versions/versions/1/ready", modelReady, "versions", "1"},
		{"/v2/models/stats", allStats, "", ""},
		{"/metrics", noEndpoint, "", ""},
		{"/debug/state", noEndpoint, "", ""},
		{"/v2/models/stats/stats", modelStats, "stats", ""},
		{"/v2/repository/index", repositoryIndex, "", ""},
		{"/v2/repository/r/index", repositoryIndex, "", ""},
		{"/v2/repository/r/s/index", noEndpoint, "", ""},
		{"/v2/repository/r/models/a/load", repositoryControl, "a", ""},
		{"/v2/repository/models/models/load", repositoryControl, "models", ""},
		{"/v2/repository/models/a/reload", noEndpoint, "", ""},
		{"/v2/systemsharedmemory/region/r/status", sharedMemory, "", ""},
		{"/v2/systemsharedmemory/region//status", noEndpoint, "", ""},
		{"/v2x", noEndpoint, "", ""},
		{"", noEndpoint, "", ""},
	} {
		got := route([]byte(c.path))
		if got.endpoint != c.want || string(got.model) != c.model || string(got.version) != c.version {
			t.Errorf("route(%q) = %d %q %q, want %d %q %q",
				c.path, got.endpoint, got.model, got.version, c.want, c.model, c.version)
		}
	}
}

// FuzzRoute holds route against what must be true of any path: names are
// never empty, hold no slash, and an infer path is put together from them.
func FuzzRoute(f *testing.F) {
	f.Add("/v2/models/a/versions/1/infer")
	f.Add("/v2/repository/x/models/a/load")
	f.Add("/v2/systemsharedmemory/region/a/status")
	f.Fuzz(func(t *testing.T, path string) {
		got := route([]byte(path))
		for _, c := range got.model {
			if c == '/' {
				t.Fatalf("route(%q): model %q", path, got.model)
			}
		}
		if got.version != nil && !digits(got.version) {
			t.Fatalf("route(%q): version %q", path, got.version)
		}
		if got.endpoint == modelInfer {
			want := "/v2/models/" + string(got.model) + "/infer"
			if got.version != nil {
				want = "/v2/models/" + string(got.model) + "/versions/" + string(got.version) + "/infer"
			}
			if path != want || len(got.model) == 0 {
				t.Fatalf("route(%q) is infer of %q version %q", path, got.model, got.version)
			}
		}
	})
}

// FuzzDeadline holds the parsers of deadlines against their bounds, and
// against time.ParseDuration where both take the number.
func FuzzDeadline(f *testing.F) {
	for _, s := range []string{"250m", "1.5", "0", "99999999H", "1e3", "-1", "00000000000000000007", "0.0000000009"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		for _, unit := range []time.Duration{0, time.Millisecond, time.Second} {
			d, ok := parseDeadline(v, unit)
			if ok && (d < 0 || d > maxTimeout) {
				t.Fatalf("parseDeadline(%q, %v) = %v", v, unit, d)
			}
			if !ok || unit == 0 || d == maxTimeout {
				continue
			}
			suffix := map[time.Duration]string{time.Millisecond: "ms", time.Second: "s"}[unit]
			want, err := time.ParseDuration(string(v) + suffix)
			if err != nil {
				t.Fatalf("parseDeadline(%q, %v) = %v, and time.ParseDuration says %v", v, unit, d, err)
			}
			// Fractions are read to six digits.
			if diff := want - d; diff < 0 || diff > unit/1_000_000+1 {
				t.Fatalf("parseDeadline(%q, %v) = %v, want %v", v, unit, d, want)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(gz(f, validInfer)))
	f.Add([]byte(zl(f, validInfer)))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, enc := range []encoding{gzipped, deflated} {
			const limit = 1 << 16
			limits := inflation{most: limit, ratio: 200, hold: func(int) error { return nil }}
			out, err := appendDecoded([]byte("kept"), body, enc, limits)
			if string(out[:4]) != "kept" {
				t.Fatal("what was there is gone")
			}
			if err == nil && len(out) > limit+4 {
				t.Fatalf("%d bytes, over the limit", len(out)-4)
			}
			// What was decoded comes back from another round.
			if err == nil {
				again, err := appendDecoded(nil, appendEncoded(nil, out[4:], enc), enc, limits)
				if err != nil || string(again) != string(out[4:]) {
					t.Fatalf("round trip: %v", err)
				}
			}
		}
	})
}
