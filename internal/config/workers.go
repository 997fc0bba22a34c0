package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (c *Config) checkWorkers(f *faults) {
	if len(c.Workers) == 0 {
		f.add("workers", nil, "must have at least one worker")
	}
	var types, models []string
	for _, t := range c.InstanceTypes {
		types = append(types, t.Name)
	}
	for _, m := range c.Models {
		models = append(models, m.Name)
	}
	first := map[string]int{}
	total := 0
	for i := range c.Workers {
		w := &c.Workers[i]
		at := fmt.Sprintf("workers[%d]", i)
		name(f, at+".name", w.Name, first, i, "workers")
		c.checkExpanded(f, at, i)
		if !slices.Contains(types, w.Type) {
			f.add(at+".type", w.Type, "must be one of instance_types%s", nearest(w.Type, types))
		}
		within(f, at+".count", w.Count, 0, maxCount)
		if total += max(w.Count, 0); total > maxCount && total-w.Count <= maxCount {
			f.add(at+".count", w.Count, "makes more than %d workers in all", maxCount)
		}
		within(f, at+".concurrency", w.Concurrency, 1, 10_000)
		for j, m := range w.Models {
			field := fmt.Sprintf("%s.models[%d]", at, j)
			if !slices.Contains(models, m) {
				f.add(field, m, "must be one of models%s", nearest(m, models))
			} else if c.cascaded(m) {
				f.add(field, m, "is a cascade, which no worker serves: other models answer for it")
			} else if slices.Contains(w.Models[:j], m) {
				f.add(field, m, "given twice")
			}
		}
		c.checkKind(f, at, w)
		if w.Hardware != nil {
			w.Hardware.check(f, at+".hardware")
		}
		if w.Spot != nil {
			w.Spot.check(f, at+".spot")
		}
	}
}

// checkExpanded refuses worker i when its name is one that another worker's
// count makes.
func (c *Config) checkExpanded(f *faults, at string, i int) {
	w := &c.Workers[i]
	cut := strings.LastIndexByte(w.Name, '-')
	if cut < 0 || w.Count != 1 {
		return
	}
	n, err := strconv.Atoi(w.Name[cut+1:])
	if err != nil || strconv.Itoa(n) != w.Name[cut+1:] {
		return
	}
	for j, other := range c.Workers {
		if other.Name == w.Name[:cut] && (other.Count == 0 || other.Count > max(n, 1)) {
			f.add(at+".name", w.Name, "is already the name of a worker that the count of workers[%d] makes", j)
		}
	}
}

func (c *Config) checkKind(f *faults, at string, w *Worker) {
	var kinds []string
	if w.Embedded != nil {
		kinds = append(kinds, "embedded")
		c.checkEmbedded(f, at, w)
	}
	if w.Remote != nil {
		kinds = append(kinds, "remote")
		c.checkRemote(f, at, w)
	}
	if w.Emulated != nil {
		kinds = append(kinds, "emulated")
		c.checkEmulated(f, at, w)
	}
	switch len(kinds) {
	case 0:
		f.add(at, nil, "must have one of embedded, remote and emulated")
	case 1:
	default:
		f.add(at, nil, "must have only one of embedded, remote and emulated, not %s", strings.Join(kinds, " and "))
	}
}

func (c *Config) checkEmbedded(f *faults, at string, w *Worker) {
	e := w.Embedded
	at += ".embedded"
	oneOf(f, at+".engine", e.Engine, engines)
	oneOf(f, at+".gpu", e.GPU, gpus)
	within(f, at+".threads", e.Threads, 1, 1024)
	switch {
	case e.Path == "" && e.Engine == "onnxruntime":
		f.add(at+".path", e.Path, "must name an .onnx file or a directory for the engine onnxruntime")
	case e.Path == "" && e.Engine == "builtin":
		for _, m := range c.Serves(w) {
			if !slices.Contains(BuiltinModels, m) {
				f.add(at+".path", e.Path, "must name an .onnx file: %s is not built in (%s is)", show(m), strings.Join(BuiltinModels, ", "))
				break
			}
		}
	case strings.HasSuffix(e.Path, ".onnx") && len(c.Serves(w)) > 1:
		f.add(at+".path", e.Path, "must be a directory to serve %d models: one file holds one", len(c.Serves(w)))
	}
	if e.Library != "" && e.Engine == "builtin" {
		f.add(at+".library", e.Library, "is for the engine onnxruntime")
	}
}

func (c *Config) checkRemote(f *faults, at string, w *Worker) {
	r := w.Remote
	at += ".remote"
	checkURL(f, at+".url", r.URL)
	if r.TLS != nil {
		if !strings.HasPrefix(r.URL, "https:") {
			f.add(at+".tls", nil, "is for https, and url is not")
		}
		r.TLS.check(f, at+".tls")
	}
	oneOf(f, at+".binary", r.Binary, binaries)
	duration(f, at+".timeout", r.Timeout, time.Millisecond)
	within(f, at+".connections", r.Connections, 1, 100_000)
	duration(f, at+".probe_interval", r.ProbeInterval, 10*time.Millisecond)
	serves := c.Serves(w)
	names := make([]string, 0, len(r.ModelNames))
	for m := range r.ModelNames {
		names = append(names, m)
	}
	slices.Sort(names)
	for _, m := range names {
		field := join(at+".model_names", m)
		if !slices.Contains(serves, m) {
			f.add(field, nil, "must be a model that this worker serves%s", nearest(m, serves))
		}
		if up := r.ModelNames[m]; up == "" || len(up) > 256 || strings.ContainsAny(up, "/?#% \t\r\n") {
			f.add(field, up, "must be the model's name on the server: 1 to 256 bytes, with no space and none of / ? # %%")
		}
	}
}

func (c *Config) checkEmulated(f *faults, at string, w *Worker) {
	e := w.Emulated
	at += ".emulated"
	oneOf(f, at+".answer", e.Answer, answers)
	switch {
	case e.ProfileModel == "":
		f.add(at+".profile_model", e.ProfileModel, "must name a model of the profiles")
	case len(c.Profiles) == 0:
		f.add(at+".profile_model", e.ProfileModel, "needs measured latencies: list their files under profiles")
	case len(c.Rows) > 0 && len(c.Points(e.ProfileModel, w.Type)) == 0:
		f.add(at+".profile_model", e.ProfileModel, "has no latencies on instance type %s in the profiles%s", show(w.Type), c.measured(w.Type))
	}
	if e.Answer == "embedded" {
		for _, m := range c.Serves(w) {
			if !slices.Contains(BuiltinModels, m) {
				f.add(at+".answer", e.Answer, "must be echo: %s is not built in (%s is)", show(m), strings.Join(BuiltinModels, ", "))
				break
			}
		}
	}
}

// measured tells what the profiles have on an instance type.
func (c *Config) measured(instanceType string) string {
	var models []string
	for _, r := range c.Rows {
		if r.InstanceType == instanceType && !slices.Contains(models, r.Model) {
			models = append(models, r.Model)
		}
	}
	if len(models) == 0 {
		return "; there is none for that type"
	}
	return "; there is " + strings.Join(models, ", ")
}
