package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"motley/internal/oip"
)

// The bounds that have no field of their own.
const (
	maxCount         = 10_000 // workers of one entry, and of all together
	maxBatch         = 1 << 20
	maxDuration      = 24 * time.Hour
	minBody     Size = 1 << 10
	maxBody     Size = 16 << 30
)

// Validate returns every fault of c, by position in the file it was read
// from, else in the order of the fields. It looks at no files; emulated
// workers are checked against Rows where there are any.
func (c *Config) Validate() []Violation {
	f := &faults{source: &c.source}
	address(f, "listen", c.Listen)
	if c.TLS != nil {
		c.TLS.check(f, "tls")
	}
	c.Admin.check(f)
	c.checkAccess(f)
	oneOf(f, "log.level", c.Log.Level, levels)
	oneOf(f, "log.format", c.Log.Format, formats)
	c.Log.Access.check(f)
	c.Tracing.check(f)
	c.Limits.check(f)
	c.checkPolicy(f)
	c.checkModels(f)
	c.checkTypes(f)
	for i, p := range c.Profiles {
		if p == "" {
			f.add(fmt.Sprintf("profiles[%d]", i), p, "must name a file")
		}
	}
	c.checkRows(f)
	duration(f, "learned.interval", c.Learned.Interval, 100*time.Millisecond)
	c.checkWorkers(f)
	c.Breaker.check(f)
	c.Failures.check(f)
	c.Health.check(f)
	c.Reload.check(f)
	c.checkPlan(f)
	sortViolations(f.list)
	return f.list
}

func (c *Config) checkPolicy(f *faults) {
	kind, number, ok := strings.Cut(c.Policy, "=")
	what := "a threshold from 1 to %d items"
	switch kind {
	case "size-threshold":
	case "least-conn", "random-two":
		what = "a weight from 1 to %d"
	default:
		ok = false
	}
	if !ok {
		oneOf(f, "policy", c.Policy, Policies)
	} else if n, err := strconv.Atoi(number); err != nil || n < 1 || n > maxBatch {
		f.add("policy", c.Policy, "must have "+what, maxBatch)
	}
}

// address checks where something listens.
func address(f *faults, field, value string) {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		f.add(field, value, `must be host:port, such as "127.0.0.1:8000" or ":8000"`)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		f.add(field, value, "must have a port from 0 (any free one) to 65535")
	}
}

func (l *Limits) check(f *faults) {
	if l.MaxBody < minBody || l.MaxBody > maxBody {
		f.add("limits.max_body", l.MaxBody, "must be from %v to %v", minBody, maxBody)
	}
	within(f, "limits.max_connections", l.MaxConnections, 1, 1_000_000)
	duration(f, "limits.read_timeout", l.ReadTimeout, time.Millisecond)
	duration(f, "limits.idle_timeout", l.IdleTimeout, time.Millisecond)
	duration(f, "limits.drain_timeout", l.DrainTimeout, 0)
	duration(f, "limits.shutdown_delay", l.ShutdownDelay, 0)
	duration(f, "limits.linger", l.Linger, 0)
	duration(f, "limits.upgrade_timeout", l.UpgradeTimeout, time.Second)
	l.checkFine(f)
}

func (b *Breaker) check(f *faults) {
	within(f, "breaker.failures", b.Failures, 1, 1_000_000)
	duration(f, "breaker.open", b.Open, time.Millisecond)
	if b.MaxOpen < b.Open || b.MaxOpen > maxDuration {
		f.add("breaker.max_open", b.MaxOpen, "must be from breaker.open, %v, to %v", b.Open, maxDuration)
	}
}

func (c *Config) checkModels(f *faults) {
	if len(c.Models) == 0 {
		f.add("models", nil, "must have at least one model")
	}
	first := map[string]int{}
	for i := range c.Models {
		m := &c.Models[i]
		at := fmt.Sprintf("models[%d]", i)
		name(f, at+".name", m.Name, first, i, "models")
		duration(f, at+".qos.target", m.QoS.Target, time.Microsecond)
		if p := m.QoS.Percentile; !(p > 50 && p < 100) {
			f.add(at+".qos.percentile", p, "must be over 50 and under 100")
		}
		within(f, at+".max_batch", m.MaxBatch, 0, maxBatch)
		if m.Batched != nil && !*m.Batched && m.MaxBatch > 1 {
			f.add(at+".max_batch", m.MaxBatch, "must be 0 or 1 where batched is false: there is no batch dimension to merge along")
		}
		within(f, at+".max_queue", m.MaxQueue, 1, 10_000_000)
		within(f, at+".max_attempts", m.MaxAttempts, 1, 100)
		m.Cost.check(f, at+".cost")
		c.checkEarlyExit(f, at, m)
		if m.Cascade != nil {
			c.checkCascade(f, at, m)
			continue
		}
		tensors(f, at+".inputs", m.Inputs)
		tensors(f, at+".outputs", m.Outputs)
		if (len(m.Inputs) > 0 || len(m.Outputs) > 0) && !c.echoOnly(m.Name) {
			part := ".inputs"
			if len(m.Inputs) == 0 {
				part = ".outputs"
			}
			f.add(at+part, nil, "is for models that only emulated workers with answer: echo serve; others tell their own")
		}
	}
	for i := range c.Models {
		if m := &c.Models[i]; m.Name != "" && m.Cascade == nil && len(c.Workers) > 0 && !c.served(m.Name) {
			f.add(fmt.Sprintf("models[%d].name", i), c.Models[i].Name, "no worker serves it")
		}
	}
}

// served reports whether a worker serves the model.
func (c *Config) served(model string) bool {
	return !c.cascaded(model) && slices.ContainsFunc(c.Workers, func(w Worker) bool {
		return len(w.Models) == 0 || slices.Contains(w.Models, model)
	})
}

// echoOnly reports whether all workers that serve the model answer with an
// echo.
func (c *Config) echoOnly(model string) bool {
	return !slices.ContainsFunc(c.Workers, func(w Worker) bool {
		echo := w.Emulated != nil && w.Emulated.Answer == "echo"
		return (len(w.Models) == 0 || slices.Contains(w.Models, model)) && !echo
	})
}

func tensors(f *faults, at string, list []Tensor) {
	first := map[string]int{}
	for i, t := range list {
		field := fmt.Sprintf("%s[%d]", at, i)
		if t.Name == "" {
			f.add(field+".name", t.Name, "must not be empty")
		} else if j, ok := first[t.Name]; ok {
			f.add(field+".name", t.Name, "is already the name of %s[%d]", at, j)
		} else {
			first[t.Name] = i
		}
		if _, ok := oip.ParseDatatype([]byte(t.Datatype)); !ok {
			f.add(field+".datatype", t.Datatype, "must be a datatype of OIP: BOOL, UINT8 … UINT64, INT8 … INT64, FP16, BF16, FP32, FP64 or BYTES")
		}
		if len(t.Shape) == 0 {
			f.add(field+".shape", nil, "must have at least one dimension")
		}
		for j, n := range t.Shape {
			if n < -1 {
				f.add(fmt.Sprintf("%s.shape[%d]", field, j), n, "must be −1 (variable) or at least 0")
			}
		}
	}
}

func (c *Config) checkTypes(f *faults) {
	if len(c.InstanceTypes) == 0 {
		f.add("instance_types", nil, "must have at least one instance type")
	}
	first := map[string]int{}
	for i, t := range c.InstanceTypes {
		at := fmt.Sprintf("instance_types[%d]", i)
		name(f, at+".name", t.Name, first, i, "instance_types")
		if !(t.USDPerHour >= 0 && t.USDPerHour <= 1e6) {
			f.add(at+".usd_per_hour", t.USDPerHour, "must be from 0 (not priced) to 1,000,000")
		}
		t.checkOffer(f, at)
		t.checkDevice(f, at)
	}
}

// checkRows refuses a latency that two profiles measure.
func (c *Config) checkRows(f *faults) {
	type key struct {
		model, instanceType string
		batch               int
	}
	seen := map[key]bool{}
	for _, r := range c.Rows {
		k := key{r.Model, r.InstanceType, r.Batch}
		if seen[k] {
			f.add("profiles", nil, "measure batch %d of %s on %s twice", r.Batch, show(r.Model), show(r.InstanceType))
			return
		}
		seen[k] = true
	}
}

func oneOf(f *faults, field, value string, known []string) {
	if !slices.Contains(known, value) {
		f.add(field, value, "must be one of %s%s", strings.Join(known, ", "), suggestion(value, known))
	}
}

func within(f *faults, field string, value, low, high int) {
	if value < low || value > high {
		f.add(field, value, "must be from %d to %d", low, high)
	}
}

func duration(f *faults, field string, value, low time.Duration) {
	if value < low || value > maxDuration {
		f.add(field, value, "must be from %v to %v", low, maxDuration)
	}
}

// name checks a name and that it is the first of its kind: first is filled in.
func name(f *faults, field, value string, first map[string]int, i int, list string) {
	if !goodName(value) {
		f.add(field, value, "must be 1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or digit")
		return
	}
	if j, ok := first[value]; ok {
		f.add(field, value, "is already the name of %s[%d]", list, j)
		return
	}
	first[value] = i
}

// goodName holds names to what needs no escape in a URL's path, a metric's
// label or a log line.
func goodName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

func checkURL(f *faults, field, value string) {
	if value == "" {
		f.add(field, value, "must be the server's address, such as http://127.0.0.1:8000")
		return
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		f.add(field, value, "must be a URL, such as http://127.0.0.1:8000")
	case u.Scheme != "http" && u.Scheme != "https":
		f.add(field, value, "must be http or https")
	case u.Hostname() == "":
		f.add(field, value, "must name a host")
	case u.User != nil:
		f.add(field, u.Redacted(), "must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		f.add(field, value, "must have no query or fragment")
	case u.Port() != "" && !goodPort(u.Port()):
		f.add(field, value, "must have a port from 1 to 65535")
	}
}

func goodPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= math.MaxUint16
}
