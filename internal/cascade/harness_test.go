package cascade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
)

// world is a loop whose models answer by script. The models take x, INT64
// [n,1], and what they say of a row depends on its x alone. They give p, FP32
// [n,C] (FP64 where wide), and y, INT64 [n,1]; their names differ by model: p0,
// y0 and so on.
type world struct {
	t      *testing.T
	models []*model
	latest func(size int, left time.Duration) (time.Duration, bool)
	// unbatched: the models do not batch, and take one row
	unbatched bool
	idle      bool

	mu    sync.Mutex
	calls []call
}

// model is one scripted model.
type model struct {
	say     func(x int64) []float64 // its p
	wide    bool
	took    time.Duration
	fail    error // instead of an answer, after took
	stuck   bool  // returns only long after its context has ended
	rewrite func(*oip.Message)
	info    live.Info
}

// call is a request that a model was asked.
type call struct {
	model    int
	xs       []int64
	priority int
	timeout  time.Duration
	ended    error
	id       string // what it was called
	trace    string // and where it stands
}

// known gives a model metadata.
func (w *world) metadata(m, classes int) {
	d := oip.FP32
	if w.models[m].wide {
		d = oip.FP64
	}
	w.models[m].info.Metadata = &oip.ModelMetadata{
		Name: fmt.Sprint("m", m), Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.Int64, Shape: []int64{-1, 1}}},
		Outputs: []oip.TensorMetadata{
			{Name: fmt.Sprint("p", m), Datatype: d, Shape: []int64{-1, int64(classes)}},
			{Name: fmt.Sprint("y", m), Datatype: oip.Int64, Shape: []int64{-1, 1}},
			{Name: "other", Datatype: oip.FP32, Shape: []int64{-1}},
		},
	}
}

func (w *world) Info(m pool.ModelID) *live.Info { return &w.models[m].info }

func (w *world) Idles(m pool.ModelID) bool { return w.idle && int(m) == len(w.models)-1 }

func (w *world) LatestStart(m pool.ModelID, size int, left time.Duration) (time.Duration, bool) {
	if int(m) != len(w.models)-1 {
		w.t.Errorf("the latest start of model %d is asked for, which is not the reference", m)
	}
	return w.latest(size, left)
}

func (w *world) DoContext(ctx context.Context, r *live.Request) (err error) {
	m := w.models[r.Model]
	tensors, err := oip.Tensors(nil, []*oip.Request{r.Call.Request}, m.info.Metadata)
	if err != nil || len(tensors) != 1 {
		w.t.Errorf("model %d is asked %v: %v", r.Model, tensors, err)
		return err
	}
	values, _ := oip.Values(nil, tensors[0].Data, oip.Int64)
	c := call{model: int(r.Model), priority: r.Priority, timeout: r.Timeout, id: string(r.Call.ID)}
	if r.Call.Trace.Valid() {
		c.trace = string(r.Call.Trace.Append(nil)) + " " + string(r.Call.Trace.State)
	}
	for _, v := range values {
		c.xs = append(c.xs, int64(v))
	}
	if r.Size != len(c.xs) || (r.MergeKey == 0) != w.unbatched || r.Call.Request.ID != nil {
		w.t.Errorf("a request for %v has size %d, merge key %x, id %s", c.xs, r.Size, r.MergeKey, r.Call.Request.ID)
	}
	defer func() {
		c.ended = err
		w.mu.Lock()
		w.calls = append(w.calls, c)
		w.mu.Unlock()
	}()
	if m.took > 0 {
		select {
		case <-time.After(m.took):
		case <-ctx.Done():
			if m.stuck {
				<-time.After(time.Hour)
			}
			return &backend.Error{Class: backend.Canceled, Status: backend.StatusClientClosed}
		}
	}
	r.Attempts, r.Worker, r.Batch, r.Parts, r.Ran = 1, pool.WorkerID(r.Model), len(c.xs), 1, m.took
	if m.fail != nil {
		return m.fail
	}
	score := oip.Tensor{Name: fmt.Sprint("p", r.Model), Datatype: oip.FP32}
	if m.wide {
		score.Datatype = oip.FP64
	}
	label := oip.Tensor{Name: fmt.Sprint("y", r.Model), Datatype: oip.Int64, Shape: []int64{int64(len(c.xs)), 1}}
	for _, x := range c.xs {
		p := m.say(x)
		score.Shape = []int64{int64(len(c.xs)), int64(len(p))}
		score.Data, _ = oip.AppendValues(score.Data, p, score.Datatype)
		label.Data, _ = oip.AppendValues(label.Data, []float64{float64(100*int(r.Model) + top(p))}, oip.Int64)
	}
	err = oip.Encode([]*oip.Message{&r.Call.Response}, []oip.Tensor{score, label}, []*oip.Request{r.Call.Request}, nil,
		oip.ResponseInfo{Model: fmt.Sprint("m", r.Model)})
	if m.rewrite != nil {
		m.rewrite(&r.Call.Response)
	}
	return err
}

// asked are the calls so far, by model the rows.
func (w *world) asked() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]call(nil), w.calls...)
}

// script is a controller whose verdicts are written down.
type script struct {
	t       *testing.T
	mode    earlyexit.Mode
	active  uint32
	verdict func(row *earlyexit.Row, ramp int) earlyexit.Verdict
	asked   map[uint64]bool
	learned map[uint64]earlyexit.Outcome
}

func (s *script) Active(int, float64) uint32 { return s.active }

func (s *script) Decide(row *earlyexit.Row, ramp int) earlyexit.Verdict {
	s.asked[row.Seq] = true
	return s.verdict(row, ramp)
}

func (s *script) Learn(o *earlyexit.Outcome) {
	if _, twice := s.learned[o.Seq]; twice || !s.asked[o.Seq] {
		s.t.Errorf("row %d is learned of twice, or was never asked about", o.Seq)
	}
	if o.Ran && o.Lost {
		s.t.Errorf("row %d ran and is lost", o.Seq)
	}
	s.learned[o.Seq] = *o
}

func (s *script) Report() earlyexit.Report { return earlyexit.Report{Mode: s.mode} }

// setting is a world with a cascade over all its models.
type setting struct {
	*world
	*script
	cascade *Cascade
}

// stop and go on, in the words of the controller.
var (
	exit    = earlyexit.Verdict{Exit: true, Stop: true, Audit: 0.25}
	audited = earlyexit.Verdict{Exit: true, Audit: 0.25}
	stay    = earlyexit.Verdict{}
)

// sure accepts what is at least that sure, and audits odd rows.
func sure(least float32) func(*earlyexit.Row, int) earlyexit.Verdict {
	return func(row *earlyexit.Row, ramp int) earlyexit.Verdict {
		switch s := row.Signals[ramp]; {
		case !s.Seen() || s.Confidence < least:
			return stay
		case row.Seq%2 == 1:
			return audited
		}
		return exit
	}
}

// begin makes a setting of models with three classes; change may alter it
// before the cascade is made.
func begin(t *testing.T, change func(*setting, *Config), models ...*model) *setting {
	t.Helper()
	s := &setting{world: &world{t: t, models: models}, script: &script{
		t: t, mode: earlyexit.Compute, active: 1<<(len(models)-1) - 1, verdict: sure(0.8),
		asked: map[uint64]bool{}, learned: map[uint64]earlyexit.Outcome{},
	}}
	s.latest = func(_ int, left time.Duration) (time.Duration, bool) { return left / 2, true }
	cfg := Config{Name: "both", Loop: s.world, QoS: time.Second}
	for i, m := range models {
		m.info.Batched = true
		s.metadata(i, 3)
		cfg.Stages = append(cfg.Stages, Stage{
			Model: pool.ModelID(i), Name: fmt.Sprint("m", i), Output: fmt.Sprint("p", i), Label: fmt.Sprint("y", i),
		})
	}
	if change != nil {
		change(s, &cfg)
	}
	cfg.Gate = gate.New(s.script, 1)
	var err error
	if s.cascade, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// end closes the cascade and checks that each row asked about was learned of.
func (s *setting) end() {
	s.world.t.Helper()
	if err := s.cascade.Close(context.Background()); err != nil {
		s.world.t.Error(err)
	}
	for seq := range s.script.asked {
		if _, ok := s.learned[seq]; !ok {
			s.world.t.Errorf("row %d was never learned of", seq)
		}
	}
}

// request asks for rows.
func request(t *testing.T, xs ...int64) *live.Request {
	t.Helper()
	data, _ := json.Marshal(xs)
	body := fmt.Sprintf(`{"id":"q","parameters":{"ee_mode":"compute","other":1},"inputs":[{"name":"x","datatype":"INT64","shape":[%d,1],"data":%s}]}`, len(xs), data)
	req := new(oip.Request)
	if err := req.Parse([]byte(body), -1, nil); err != nil {
		t.Fatal(err)
	}
	return &live.Request{Call: backend.Call{Request: req}, Size: len(xs), Mode: earlyexit.Compute, Priority: 3}
}

// reply is a cascade's answer taken apart.
type reply struct {
	ModelName  string `json:"model_name"`
	ID         string `json:"id"`
	Parameters struct {
		Exit       int      `json:"ee_exit"`
		Final      bool     `json:"ee_final"`
		Confidence *float64 `json:"ee_confidence"`
	} `json:"parameters"`
	Outputs []struct {
		Name     string     `json:"name"`
		Datatype string     `json:"datatype"`
		Shape    []int      `json:"shape"`
		Data     []*float64 `json:"data"`
	} `json:"outputs"`
}

func parse(t *testing.T, m oip.Message) reply {
	t.Helper()
	var a reply
	if err := json.Unmarshal(m.Body, &a); err != nil || m.HeadLength != -1 {
		t.Fatalf("answer %s (head %d): %v", m.Body, m.HeadLength, err)
	}
	return a
}

// String prints the answer on one line: the exit, p by row, the labels.
func (a reply) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d", a.Parameters.Exit)
	for _, o := range a.Outputs {
		fmt.Fprintf(&b, " %s%v=", o.Name, o.Shape)
		for i, v := range o.Data {
			if i > 0 {
				b.WriteByte(',')
			}
			if v == nil {
				b.WriteString("null")
			} else {
				fmt.Fprint(&b, math.Round(*v*1e4)/1e4)
			}
		}
	}
	return b.String()
}

// do asks and expects an answer.
func (s *setting) do(r *live.Request) reply {
	s.world.t.Helper()
	if err := s.cascade.Do(context.Background(), r); err != nil {
		s.world.t.Fatalf("cannot answer: %v (%v)", err, errors.Unwrap(err))
	}
	a := parse(s.world.t, r.Call.Response)
	if a.ModelName != "both" || a.ID != "q" || !a.Parameters.Final || a.Parameters.Exit != r.Exit {
		s.world.t.Errorf("answer %s to a request with exit %d", r.Call.Response.Body, r.Exit)
	}
	return a
}

// about is probabilities of three classes, one of them first.
func about(class int, p float64) []float64 {
	rest := (1 - p) / 2
	row := []float64{rest, rest, rest}
	row[class] = p
	return row
}
