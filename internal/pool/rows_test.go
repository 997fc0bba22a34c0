package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestReadProfiles(t *testing.T) {
	rows, err := ReadProfiles(strings.NewReader("# source\nextra,p99_ms,batch, mean_ms ,instance_type,model\nx,2.5,10,1.5,cpu,m\ny,,20,3,cpu,m\n"))
	want := []Row{
		{"m", "cpu", Point{Batch: 10, Mean: 1500 * time.Microsecond, P99: 2500 * time.Microsecond}},
		{"m", "cpu", Point{Batch: 20, Mean: 3 * time.Millisecond}},
	}
	if err != nil || fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", rows, err, want)
	}
}

func TestReadProfilesRefuses(t *testing.T) {
	const head = "model,instance_type,batch,mean_ms,p99_ms\n"
	for _, c := range []struct{ in, want string }{
		{"", "no header"},
		{"model,instance_type,batch,mean_ms\n", "column p99_ms is missing"},
		{"model,model,instance_type,batch,mean_ms,p99_ms\n", "column model is there twice"},
		{head + ",cpu,1,1,1\n", "line 2: model"},
		{head + "m,,1,1,1\n", "line 2: instance_type"},
		{head + "m,cpu,1,1,1\nm,cpu,0,1,1\n", `line 3: batch: "0"`},
		{head + "m,cpu,1.5,1,1\n", "line 2: batch"},
		{head + "m,cpu,1,NaN,1\n", `line 2: mean_ms: "NaN"`},
		{head + "m,cpu,1,0,1\n", "line 2: mean_ms"},
		{head + "m,cpu,1,1,-1\n", `line 2: p99_ms: "-1"`},
		{head + "m,cpu,1,1,Inf\n", "line 2: p99_ms"},
		{head + "m,cpu,1,1\n", "line 2: wrong number of fields"},
		{head + "m,cpu,1,1,1\n\nm,cpu,1,2,2\n", "line 4: batch: 1 of m on cpu is already on line 2"},
	} {
		if _, err := ReadProfiles(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.in, err, c.want)
		}
	}
}

// What is read makes a profile, and written out again reads the same.
func FuzzReadProfiles(f *testing.F) {
	f.Add("model,instance_type,batch,mean_ms,p99_ms\nm,cpu,1,1,1\nm,cpu,2,1e-3,\n")
	f.Add("p99_ms,mean_ms,batch,instance_type,model\n\"1\",2,3,\"a,b\",c\n")
	f.Fuzz(func(t *testing.T, in string) {
		rows, err := ReadProfiles(strings.NewReader(in))
		if err != nil {
			return
		}
		var out strings.Builder
		out.WriteString("model,instance_type,batch,mean_ms,p99_ms\n")
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		for _, r := range rows {
			if _, err := NewProfile([]Point{r.Point}); err != nil && r.Mean >= 1 {
				t.Errorf("%+v was read but is refused: %v", r, err)
			}
			fmt.Fprintf(&out, "%s,%s,%d,%.6f,%.6f\n", quote(r.Model), quote(r.InstanceType), r.Batch, float64(r.Mean)/1e6, float64(r.P99)/1e6)
		}
		again, err := ReadProfiles(strings.NewReader(out.String()))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(rows) {
			t.Errorf("%v became %v, %v", rows, again, err)
		}
	})
}
