package app

import (
	"net/http"
	"strings"
	"testing"

	"motley/internal/pool"
)

// What a router tells of what it has learned is a file of profiles.
func TestDebugProfiles(t *testing.T) {
	s := echoer(t)
	rows := func() []pool.Row {
		resp, err := http.Get("http://" + s.admin + "/debug/profiles")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(kind, "text/csv") {
			t.Fatalf("status %d, %s", resp.StatusCode, kind)
		}
		rows, err := pool.ReadProfiles(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if got := rows(); len(got) != 0 {
		t.Errorf("before any batch: %+v", got)
	}
	resp, err := http.Post("http://"+s.addr+"/v2/models/m/infer", "application/json", strings.NewReader(`{"inputs":[{"name":"x","datatype":"INT32","shape":[1,2],"data":[1,2]}]}`))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %+v", err, resp)
	}
	resp.Body.Close()
	got := rows()
	if len(got) != 2 || got[0].Model != "m" || got[0].InstanceType != "cpu" || got[0].Batch != 1 || got[1].Batch != 64 || got[0].P99 == 0 {
		t.Errorf("after a batch: %+v", got)
	}
}
