package dispatch

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew; read the diff")

// TestTranscripts plays the command files of testdata and compares what the
// core answers, line by line. The language:
//
//	type NAME fixed=DUR item=DUR        an instance type and its latency law
//	model NAME qos=DUR [batch=N] [queue=N] [attempts=N] [split=no]
//	worker NAME TYPE [concurrency=N] [max=N] [state=STATE] [models=A,B]
//	policy NAME [hang=DUR]              ends the set-up
//	DUR arrive rN MODEL [size=N] [timeout=DUR] [priority=N] [key=N] [whole=yes]
//	DUR finish|fail bN [fault=worker|request|nobody]
//	DUR exit bN MEMBER
//	DUR cancel rN · DUR state WORKER STATE · DUR limit WORKER MODEL N · DUR tick
//	DUR health WORKER [slow=X] [wide=X] [ramp=X] [out=yes]
//	DUR join worker NAME TYPE … · DUR set model NAME … · DUR add type NAME
//	DUR leave|stay|gone WORKER
//	next                                prints NextDeadline and the counts
//
// Of a request that runs in parts a start prints the rows, as rN[from:to].
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs; got:\n%s", f, got)
			}
		})
	}
}

type player struct {
	cfg     Config
	core    *Core
	ids     IDs
	names   map[RequestID]string
	live    map[string]RequestID
	sizes   map[RequestID]int
	batches map[string]BatchID
	shown   map[BatchID]string
	models  map[string]pool.ModelID
	workers map[string]pool.WorkerID
	types   map[string]pool.TypeID
	laws    []law
}

type law struct{ fixed, item time.Duration }

func play(t *testing.T, text string) string {
	p := &player{
		names: map[RequestID]string{}, live: map[string]RequestID{}, sizes: map[RequestID]int{}, batches: map[string]BatchID{},
		shown: map[BatchID]string{}, models: map[string]pool.ModelID{}, workers: map[string]pool.WorkerID{},
		types: map[string]pool.TypeID{},
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "> ") {
			continue
		}
		out.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		for _, l := range p.do(t, line) {
			fmt.Fprintf(&out, "> %s\n", l)
		}
	}
	return out.String()
}

func (p *player) do(t *testing.T, line string) []string {
	words := strings.Fields(line)
	var plain []string
	opt := map[string]string{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			opt[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	num := func(k string, def int) int {
		if opt[k] == "" {
			return def
		}
		n, err := strconv.Atoi(opt[k])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	dur := func(s string) time.Duration {
		if s == "" {
			return 0
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return d
	}
	switch plain[0] {
	case "type":
		p.types[plain[1]] = pool.TypeID(len(p.cfg.Types))
		p.cfg.Types = append(p.cfg.Types, pool.InstanceType{Name: plain[1]})
		p.laws = append(p.laws, law{dur(opt["fixed"]), dur(opt["item"])})
		return nil
	case "model":
		p.models[plain[1]] = pool.ModelID(len(p.cfg.Models))
		p.cfg.Models = append(p.cfg.Models, asModel(plain, opt, num, dur))
		return nil
	case "worker":
		p.workers[plain[1]] = pool.WorkerID(len(p.cfg.Workers))
		p.cfg.Workers = append(p.cfg.Workers, p.asWorker(plain, opt, num))
		return nil
	case "policy":
		pol, err := NewPolicy(words[1], 1)
		if err != nil {
			t.Fatal(err)
		}
		p.cfg.Policy, p.cfg.Hang = pol, dur(opt["hang"])
		p.cfg.Profiles = profiles(t, len(p.cfg.Models), p.laws)
		if p.core, err = New(p.cfg); err != nil {
			t.Fatal(err)
		}
		return nil
	case "next":
		c := p.core.Counts()
		return []string{fmt.Sprintf("next=%v arrived=%d answered=%d rejected=%d failed=%d cancelled=%d retried=%d late=%d",
			p.core.NextDeadline(), c.Arrived, c.Answered, c.Rejected, c.Failed, c.Cancelled, c.Retried, c.Late)}
	}
	at := mono.Time(dur(plain[0]))
	ev := Event{At: at}
	switch plain[1] {
	case "arrive":
		timeout := dur(opt["timeout"])
		m := p.models[plain[3]]
		if timeout == 0 {
			timeout = p.core.ModelConfig(m).QoS
		}
		id := p.ids.New()
		p.names[id], p.live[plain[2]] = plain[2], id
		ev.Kind, ev.Request, ev.Model, ev.Size = Arrive, id, m, num("size", 1)
		ev.Whole, p.sizes[id] = opt["whole"] == "yes", ev.Size
		ev.Deadline, ev.Priority, ev.MergeKey = at.Add(timeout), num("priority", 0), uint64(num("key", 1))
	case "finish":
		ev.Kind, ev.Batch = Finish, p.batches[plain[2]]
	case "fail":
		ev.Kind, ev.Batch, ev.Fault = Fail, p.batches[plain[2]], fault(opt["fault"])
	case "exit":
		n, _ := strconv.Atoi(plain[3])
		ev.Kind, ev.Batch, ev.Member = Exit, p.batches[plain[2]], n
	case "cancel":
		ev.Kind, ev.Request = Cancel, p.live[plain[2]]
	case "state":
		ev.Kind, ev.Worker, ev.State = WorkerState, p.workers[plain[2]], state(plain[3])
	case "limit":
		n, _ := strconv.Atoi(plain[4])
		ev.Kind, ev.Worker, ev.Model, ev.Size = WorkerLimit, p.workers[plain[2]], p.models[plain[3]], n
	case "health":
		factor := func(k string) float64 {
			if opt[k] == "" {
				return 1
			}
			x, err := strconv.ParseFloat(opt[k], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return x
		}
		ev.Kind, ev.Worker = WorkerHealth, p.workers[plain[2]]
		ev.Health = Health{Slowdown: factor("slow"), Uncertainty: factor("wide"), Ramp: factor("ramp"), Takes: opt["out"] != "yes"}
	case "tick":
		ev.Kind = Tick
	case "join":
		w := p.asWorker(plain[2:], opt, num)
		ev.Kind, ev.Change = WorkerJoin, &Change{Worker: w}
		for p.core.Present(ev.Worker) {
			ev.Worker++
		}
		for int(ev.Worker) >= len(p.cfg.Workers) {
			p.cfg.Workers = append(p.cfg.Workers, pool.Worker{})
		}
		p.workers[w.Name], p.cfg.Workers[ev.Worker] = ev.Worker, w
	case "set":
		m := asModel(plain[2:], opt, num, dur)
		id, known := p.models[m.Name]
		if !known {
			id = pool.ModelID(len(p.cfg.Models))
			p.models[m.Name], p.cfg.Models = id, append(p.cfg.Models, m)
		}
		ev.Kind, ev.Model, ev.Change = ModelSet, id, &Change{Model: m}
	case "add":
		p.types[plain[3]] = pool.TypeID(len(p.cfg.Types))
		p.cfg.Types = append(p.cfg.Types, pool.InstanceType{Name: plain[3]})
		ev.Kind, ev.Change = TypeAdd, &Change{Type: pool.InstanceType{Name: plain[3]}}
	case "leave", "stay", "gone":
		ev.Kind = map[string]EventKind{"leave": WorkerLeave, "stay": WorkerStay, "gone": WorkerGone}[plain[1]]
		ev.Worker = p.workers[plain[2]]
	default:
		t.Fatalf("unknown command: %s", line)
	}
	var lines []string
	for _, a := range p.core.Step(ev, nil) {
		lines = append(lines, p.show(a))
	}
	p.core.check()
	if ev.Kind == WorkerGone || ev.Kind == WorkerLeave {
		lines = append(lines, fmt.Sprintf("present=%v vacant=%v", p.core.Present(ev.Worker), p.core.Vacant(ev.Worker)))
	}
	return lines
}

// asModel reads what stands behind "model".
func asModel(plain []string, opt map[string]string, num func(string, int) int, dur func(string) time.Duration) Model {
	return Model{
		Name: plain[1], QoS: dur(opt["qos"]), MaxBatch: num("batch", 0), MaxQueue: num("queue", 0), MaxAttempts: num("attempts", 0),
		NoSplit: opt["split"] == "no",
	}
}

// asWorker reads what stands behind "worker".
func (p *player) asWorker(plain []string, opt map[string]string, num func(string, int) int) pool.Worker {
	w := pool.Worker{Name: plain[1], Type: p.types[plain[2]], Concurrency: num("concurrency", 1), State: pool.Up}
	if s := opt["state"]; s != "" {
		w.State = state(s)
	}
	for i, m := range p.cfg.Models {
		if only := opt["models"]; only == "" || strings.Contains(","+only+",", ","+m.Name+",") {
			w.Serves = append(w.Serves, pool.Serve{Model: pool.ModelID(i), MaxBatch: num("max", 64)})
		}
	}
	return w
}

func (p *player) show(a Action) string {
	switch a.Kind {
	case Start:
		name := fmt.Sprintf("b%d", len(p.batches)+1)
		p.batches[name], p.shown[a.Batch] = a.Batch, name
		var who []string
		for i, id := range a.Requests {
			name := p.names[id]
			if a.Rows != nil && a.Rows[i].Count < p.sizes[id] {
				name += fmt.Sprintf("[%d:%d]", a.Rows[i].From, a.Rows[i].From+a.Rows[i].Count)
			}
			who = append(who, name)
		}
		return fmt.Sprintf("start %s on %s: %s", name, p.cfg.Workers[a.Worker].Name, strings.Join(who, " "))
	case CancelBatch:
		return "cancel " + p.shown[a.Batch]
	}
	s := fmt.Sprintf("%v %s", a.Kind, p.names[a.Request])
	if a.Kind != Answer {
		s += " " + a.Reason.String()
	}
	delete(p.live, p.names[a.Request])
	p.ids.Free(a.Request)
	return s
}

func state(s string) pool.State {
	for _, st := range []pool.State{pool.Starting, pool.Up, pool.Draining, pool.Down} {
		if st.String() == s {
			return st
		}
	}
	panic("no state " + s)
}

func fault(s string) Fault {
	for f, name := range faultNames {
		if name == s {
			return Fault(f)
		}
	}
	return WorkerFault
}

// profiles gives every model the same affine laws, one per type, with a p99
// equal to the mean. A law of zeros stays unknown.
func profiles(t testing.TB, models int, laws []law) [][]*pool.Profile {
	var all [][]*pool.Profile
	for range models {
		var row []*pool.Profile
		for _, l := range laws {
			var points []pool.Point
			for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128} {
				if l.fixed+l.item > 0 {
					d := l.fixed + time.Duration(n)*l.item
					points = append(points, pool.Point{Batch: n, Mean: d, P99: d})
				}
			}
			p, err := pool.NewProfile(points)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, p)
		}
		all = append(all, row)
	}
	return all
}
