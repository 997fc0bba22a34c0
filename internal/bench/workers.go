package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"motley/internal/engine"
	"motley/internal/fleet"
	"motley/internal/oip"
	"motley/internal/sim"
)

// Workers is one command `bench workers`: model servers that take as long as
// measured instances.
type Workers struct {
	Profiles, Samples string  // as of Inputs
	Dilate            float64 // all latencies, QoS and the delay of batching, times this
	Prices            string  // for the router's configuration
	Mix               string
	Models            string // NAME[=MEASURED],…: the name that it is served by, and that of its latencies
	Tensors           []string
	Outputs           []string
	Listen            string
	Concurrency       int
	MaxBatch          int    // 0: the largest that was measured
	MaxQueue          int    // 0: any number
	Answer            string // echo, zeros, embedded
	Binary            string // on, off
	Batching          string // none, dynamic, dynamic:DELAY
	Seed              uint64
	Faults            []string

	Config       string // the router's configuration is written there
	QoS          time.Duration
	Policy       string
	RouterListen string
}

// drain is how long requests under way may take at the end.
const drain = 10 * time.Second

// Run serves until ctx ends, and tells then what each worker did.
func (w *Workers) Run(ctx context.Context, out Output) error {
	p, err := w.plan()
	if err != nil {
		return err
	}
	defer p.close()
	f, err := fleet.Start(p.Config)
	if err != nil {
		return err
	}
	if err = w.announce(p, f, out); err == nil {
		w.watch(ctx, f, out)
	}
	limit, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if stopped := f.Shutdown(limit); err == nil {
		err = stopped
	}
	if err != nil {
		return err
	}
	return w.report(f, out)
}

// announce tells where the workers are, once the configuration is there.
func (w *Workers) announce(p *workersPlan, f *fleet.Fleet, out Output) error {
	if w.Config != "" {
		if err := w.configure(p, f.Servers()); err != nil {
			return err
		}
	}
	if out.JSON {
		return nil
	}
	for _, s := range f.Servers() {
		if _, err := fmt.Fprintln(out.Stdout, s.Worker, s.URL, s.Type); err != nil {
			return err
		}
	}
	return nil
}

// watch waits for the end, and tells now and then how it goes.
func (w *Workers) watch(ctx context.Context, f *fleet.Fleet, out Output) {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			requests, busy := uint64(0), 0.0
			reports := f.Report()
			for _, r := range reports {
				requests += r.Requests
				busy += r.Busy / float64(len(reports))
			}
			out.Progress.Say("%d requests, workers busy %.1f %%, late p50 %v, p99 %v", requests, 100*busy, f.Lateness(0.5), f.Lateness(0.99))
		}
	}
}

// workersRecord is what a worker did, as JSON.
type workersRecord struct {
	Worker     string   `json:"worker"`
	Type       string   `json:"instance_type"`
	URL        string   `json:"url"`
	Requests   uint64   `json:"requests"`
	Failed     uint64   `json:"failed"`
	Rows       uint64   `json:"rows"`
	Executions uint64   `json:"executions"`
	Busy       float64  `json:"busy"`
	WaitMS     float64  `json:"mean_wait_ms"`
	Faults     []string `json:"faults,omitempty"`
	LateP50US  float64  `json:"late_p50_us"` // of all workers
	LateP99US  float64  `json:"late_p99_us"`
}

func (w *Workers) report(f *fleet.Fleet, out Output) error {
	reports, servers := f.Report(), f.Servers()
	late50, late99 := f.Lateness(0.5), f.Lateness(0.99)
	if out.JSON {
		records := make([]workersRecord, len(reports))
		for i, r := range reports {
			records[i] = workersRecord{
				r.Worker, r.Type, servers[i].URL, r.Requests, r.Failed, r.Rows, r.Executions, r.Busy,
				float64(r.Wait) / 1e6, r.Faults, float64(late50) / 1e3, float64(late99) / 1e3,
			}
		}
		return writeJSON(out.Stdout, records)
	}
	t := tabwriter.NewWriter(out.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\nworker\trequests\tfailed\trows\texecutions\tbusy\tmean wait ms\tfaults\t\n")
	for _, r := range reports {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%.1f %%\t%.3f\t%s\t\n", r.Worker, r.Requests, r.Failed, r.Rows, r.Executions,
			100*r.Busy, float64(r.Wait)/1e6, strings.Join(r.Faults, " "))
	}
	fmt.Fprintf(t, "\nExecutions ended later than drawn by p50 %v, p99 %v.\n", late50, late99)
	return t.Flush()
}

// workersPlan is what the command line asks for.
type workersPlan struct {
	fleet.Config
	mix   Mix
	data  *Data
	names []measured // by model
}

// measured is a model's name and that of its latencies.
type measured struct{ name, latencies string }

// close closes the models' engines.
func (p *workersPlan) close() {
	for _, m := range p.Models {
		if m.Engine != nil {
			_ = m.Engine.Close() // the process ends
		}
	}
}

func (w *Workers) plan() (*workersPlan, error) {
	p := &workersPlan{Config: fleet.Config{
		Listen: w.Listen, Concurrency: w.Concurrency, Binary: w.Binary == "on", MaxQueue: w.MaxQueue, Seed: w.Seed,
	}}
	if err := w.options(p); err != nil {
		return nil, err
	}
	var err error
	if p.data, err = LoadData(w.Profiles, w.Samples); err != nil {
		return nil, err
	}
	if err = p.data.dilate(w.Dilate); err != nil {
		return nil, err
	}
	p.Delay = dilated(p.Delay, w.Dilate)
	if p.mix, err = ParseMix(w.Mix); err != nil {
		return nil, usagef("-mix: %v", err)
	}
	if w.Models == "" {
		return nil, usagef("-model: none is given")
	}
	for one := range strings.SplitSeq(w.Models, ",") {
		m := measured{name: strings.TrimSpace(one)}
		m.latencies = m.name
		if name, from, ok := strings.Cut(m.name, "="); ok {
			m.name, m.latencies = name, from
		}
		p.names = append(p.names, m)
	}
	if err := w.workers(p); err != nil {
		return nil, err
	}
	return p, w.models(p)
}

// options reads what is independent of the data.
func (w *Workers) options(p *workersPlan) error {
	switch {
	case w.Answer != "echo" && w.Answer != "zeros" && w.Answer != "embedded":
		return usagef("-answer: %q: must be echo, zeros or embedded", w.Answer)
	case w.Binary != "on" && w.Binary != "off":
		return usagef("-binary: %q: must be on or off", w.Binary)
	case w.Concurrency < 1, w.MaxBatch < 0, w.MaxQueue < 0:
		return usagef("-concurrency must be at least 1, -max-batch and -max-queue not negative")
	}
	switch kind, delay, given := strings.Cut(w.Batching, ":"); {
	case w.Batching == "none":
	case kind != "dynamic":
		return usagef("-batching: %q: must be none, dynamic or dynamic:DELAY", w.Batching)
	default:
		p.Batching = true
		if given {
			var err error
			if p.Delay, err = time.ParseDuration(delay); err != nil || p.Delay < 0 {
				return usagef("-batching: %q: must be a duration that is not negative", delay)
			}
		}
	}
	for _, text := range w.Faults {
		f, err := fleet.ParseFault(text)
		if err != nil {
			return usagef("-fault: %v", err)
		}
		p.Faults = append(p.Faults, f)
	}
	return nil
}

// workers makes those of the mix.
func (w *Workers) workers(p *workersPlan) error {
	for t, name := range p.mix.Types {
		one := fleet.Worker{Type: name}
		for _, m := range p.names {
			truth, err := p.data.Truth(m.latencies, name)
			if err != nil {
				return err
			}
			one.Truth = append(one.Truth, truth)
			one.MaxBatch = append(one.MaxBatch, w.largest(truth))
		}
		for i := range p.mix.Counts[t] {
			one.Name = fmt.Sprintf("%s-%d", name, i)
			p.Workers = append(p.Workers, one)
		}
	}
	return nil
}

func (w *Workers) largest(truth *sim.Truth) int {
	if w.MaxBatch > 0 {
		return w.MaxBatch
	}
	return truth.Largest()
}

func (w *Workers) models(p *workersPlan) error {
	inputs, err := parseTensors("-input", w.Tensors, "x:FP32:1")
	if err != nil {
		return err
	}
	outputs, err := parseTensors("-output", w.Outputs, "y:FP32:1")
	if err != nil {
		return err
	}
	for _, m := range p.names {
		one := fleet.Model{Name: m.name, Inputs: inputs, Outputs: outputs, Zeros: w.Answer == "zeros"}
		if w.Answer == "embedded" {
			if one.Engine, err = engine.Builtin(m.name); err != nil {
				return usagef("-model: %s: %v; -answer embedded needs a built-in model: NAME=%s", m.name, err, m.latencies)
			}
		}
		p.Models = append(p.Models, one)
	}
	return nil
}

// parseTensors reads tensors as "name:DATATYPE:DIM,DIM…", without the batch.
func parseTensors(flag string, texts []string, otherwise string) ([]oip.TensorMetadata, error) {
	if len(texts) == 0 {
		texts = []string{otherwise}
	}
	var all []oip.TensorMetadata
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
			return nil, usagef("%s: %q: want NAME:DATATYPE[:DIM,DIM,…]", flag, text)
		}
		d, ok := oip.ParseDatatype([]byte(parts[1]))
		if !ok {
			return nil, usagef("%s: %q: there is no datatype %q", flag, text, parts[1])
		}
		one := oip.TensorMetadata{Name: parts[0], Datatype: d, Shape: []int64{-1}}
		if len(parts) == 3 {
			for dim := range strings.SplitSeq(parts[2], ",") {
				n, err := strconv.ParseInt(dim, 10, 32)
				if err != nil || n < -1 || n == 0 {
					return nil, usagef("%s: %q: dimension %q: must be a whole number from 1, or -1", flag, text, dim)
				}
				one.Shape = append(one.Shape, n)
			}
		}
		all = append(all, one)
	}
	return all, nil
}
