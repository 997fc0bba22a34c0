package fleet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"motley/internal/oip"
)

// integers makes the model one of integers.
func integers(c *Config) {
	c.Models[0].Inputs = []oip.TensorMetadata{{Name: "x", Datatype: oip.Int64, Shape: []int64{-1, 2}}}
	c.Models[0].Outputs = []oip.TensorMetadata{{Name: "y", Datatype: oip.Int64, Shape: []int64{-1, 2}}}
}

func row64(a, b int) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"INT64","shape":[1,2],"data":[%d,%d]}]}`, a, b)
}

// TestPoison: a request with the element gets what the fault says, others an
// answer.
func TestPoison(t *testing.T) {
	for _, does := range Poisons {
		fault, err := ParseFault("all,kind=poison,value=666,for=200ms,does=" + does)
		if err != nil {
			t.Fatal(err)
		}
		f, servers := start(t, 1, func(c *Config) { integers(c); c.Faults = []Fault{fault} })
		c := client(t)
		url := servers[0].URL + "/v2/models/m/infer"
		if r, err := post(c, url, -1, row64(1, 2)); err != nil || r.status != 200 {
			t.Fatalf("%s: a harmless request: %d %q, %v", does, r.status, r.body, err)
		}
		c.Timeout = 100 * ms
		r, err := post(c, url, -1, row64(1, 666))
		var timeout net.Error
		switch does {
		case "500":
			if err != nil || r.status != 500 {
				t.Errorf("%s: %d, %v", does, r.status, err)
			}
		case "hang":
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s: %d, %v", does, r.status, err)
			}
		default:
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %d, %v", does, r.status, err)
			}
		}
		if does == "die" {
			if _, err := post(c, url, -1, row64(1, 2)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a server that died: %v, want it to refuse", err)
			}
		}
		c.Timeout = 5 * time.Second
		for began := time.Now(); ; {
			if r, err = post(c, url, -1, row64(3, 4)); err == nil && r.status == 200 {
				break
			}
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s: afterwards: %d, %v", does, r.status, err)
			}
		}
		if got := fmt.Sprint(f.Report()[0].Faults); !strings.HasPrefix(got, "[poison=1") {
			t.Errorf("%s: counted %s", does, got)
		}
	}
}

// TestSetFaults: faults are replaced while the server runs.
func TestSetFaults(t *testing.T) {
	_, servers := start(t, 1, nil)
	c := client(t)
	set := func(body string) int {
		t.Helper()
		r, err := post(c, servers[0].URL+"/emulated/faults", -1, body)
		if err != nil {
			t.Fatal(err)
		}
		return r.status
	}
	for _, step := range []struct {
		body         string
		status, then int
	}{
		{"w0,kind=500\n\n", 200, 500},
		{"all,kind=503\nall,kind=500", 200, 503},
		{"all,kind=nonsense", 400, 503},
		{"all,kind=down", 400, 503},
		{"w7,kind=500", 200, 200},
		{"", 200, 200},
	} {
		if got := set(step.body); got != step.status {
			t.Errorf("%q: %d, want %d", step.body, got, step.status)
		}
		if r, err := post(c, servers[0].URL+"/v2/models/m/infer", -1, oneRow); err != nil || r.status != step.then {
			t.Errorf("after %q: %d, %v, want %d", step.body, r.status, err, step.then)
		}
	}
}
