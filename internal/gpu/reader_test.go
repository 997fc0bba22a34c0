package gpu

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"motley/internal/gpu/device"
)

// Which device a configuration means.
func TestPick(t *testing.T) {
	all := pool().Devices
	for _, c := range []struct {
		of   []device.Device
		want string
		id   string
		err  string
	}{
		{all, "GPU-a", "GPU-a", ""}, {all, "0", "GPU-a", ""}, {all, "1", "GPU-c", ""}, {all, "MIG-b", "MIG-b", ""}, {all, "cpu", "cpu:h", ""},
		{all, "3", "", "no device"}, {all, "GPU-x", "", "no device"}, {all, "", "", "3 devices"}, {all[3:], "", "cpu:h", ""}, {all[2:], "", "GPU-c", ""},
		{nil, "", "", "no device"}, {nil, "cpu", "", "no device"},
	} {
		d, err := pick(c.of, c.want)
		if d.ID != c.id || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q of %d: %q, %v; want %q, %q", c.want, len(c.of), d.ID, err, c.id, c.err)
		}
	}
}

// A sample is fresh once, grows older, and an error leaves the last one there.
func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{page: pool()}
		p := &Poller{Source: src}
		r := NewReader(p, "0", "test")
		if _, _, fresh, err := r.Latest(); fresh || err == nil {
			t.Errorf("before the first read: %v, %v", fresh, err)
		}
		p.Poll(t.Context())
		d, s, fresh, err := r.Latest()
		if d.ID != "GPU-a" || s.TemperatureC != device.Of(88) || !fresh || err != nil || s.Age != 0 {
			t.Errorf("%+v %+v %v %v", d, s, fresh, err)
		}
		time.Sleep(time.Second)
		if _, s, fresh, err = r.Latest(); fresh || err != nil || s.Age != time.Second {
			t.Errorf("%v %v %v", s.Age, fresh, err)
		}
		src.fail(errors.New("no answer"))
		p.Poll(t.Context())
		if d, s, fresh, err = r.Latest(); fresh || err == nil || s.Age != time.Second || d.ID != "GPU-a" {
			t.Errorf("%v %v %v", s.Age, fresh, err)
		}
		src.fail(nil)
		src.page.Samples = nil
		p.Poll(t.Context())
		if _, _, fresh, err = r.Latest(); fresh || err == nil {
			t.Errorf("%v %v", fresh, err)
		}
	})
}

// The XID that an exporter's first page names is passed over, and a later one is
// not; of other sources both count.
func TestStandingXID(t *testing.T) {
	for _, standing := range []bool{true, false} {
		src := &script{page: pool()}
		p := &Poller{Source: src}
		r := NewReader(p, "GPU-a", "test")
		r.Standing = standing
		for i, want := range []int{1, 1, 2} {
			src.page.Samples[0].XIDs = []device.XID{{Seq: 1, Code: 13}, {Seq: 2, Code: 79}}[:1+i/2]
			p.Poll(t.Context())
			if _, s, _, err := r.Latest(); err != nil || !standing && len(s.XIDs) != want || standing && len(s.XIDs) != want-1 {
				t.Errorf("standing %v, look %d: %v, %v", standing, i, s.XIDs, err)
			}
		}
		if len(src.page.Samples[0].XIDs) != 2 {
			t.Error("the source's page was changed")
		}
	}
}
