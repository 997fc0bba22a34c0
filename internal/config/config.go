// Package config is the router's configuration: strict YAML with defaults, and
// a validation that names every fault at once.
//
// The structs are plain values: they say what is wanted, the packages that
// carry it out have types of their own, and internal/app maps one to the
// other. Fields are documented for users in docs/configuration.md.
package config

import (
	"fmt"
	"slices"
	"time"

	"motley/internal/pool"
)

// Config is a whole configuration. A value from Load or Parse has its
// defaults filled in and is valid.
type Config struct {
	Listen        string         `yaml:"listen"` // host:port of the HTTP endpoint
	TLS           *ServerTLS     `yaml:"tls"`    // of Listen; nil = plain HTTP
	Admin         Admin          `yaml:"admin"`
	Access        Access         `yaml:"access"`
	Log           Log            `yaml:"log"`
	Tracing       Tracing        `yaml:"tracing"`
	Limits        Limits         `yaml:"limits"`
	Policy        string         `yaml:"policy"` // one of Policies; size-threshold, least-conn and random-two may have =N
	Models        []Model        `yaml:"models"`
	InstanceTypes []InstanceType `yaml:"instance_types"`
	Profiles      []string       `yaml:"profiles"` // CSV files, relative to the configuration; absolute after Load
	Learned       Learned        `yaml:"learned"`
	Workers       []Worker       `yaml:"workers"`
	Breaker       Breaker        `yaml:"breaker"`
	Failures      Failures       `yaml:"failures"`
	Health        Health         `yaml:"health"`
	Reload        Reload         `yaml:"reload"`
	Plan          Plan           `yaml:"plan"`

	// Rows are the measured latencies that Profiles hold; Load reads them.
	Rows []pool.Row `yaml:"-"`

	source source
}

// Log says how much the router tells, and in what form.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json

	Access AccessLog `yaml:"access"`
}

// Limits bound what clients may cost.
type Limits struct {
	MaxBody        Size          `yaml:"max_body"` // of one request, in bytes, after decompression too
	MaxConnections int           `yaml:"max_connections"`
	ReadTimeout    time.Duration `yaml:"read_timeout"`    // for a whole request to arrive
	IdleTimeout    time.Duration `yaml:"idle_timeout"`    // between requests of a connection
	DrainTimeout   time.Duration `yaml:"drain_timeout"`   // for requests under way when the router stops
	ShutdownDelay  time.Duration `yaml:"shutdown_delay"`  // from readiness off to no more accepting
	Linger         time.Duration `yaml:"linger"`          // for idle connections when the router stops
	UpgradeTimeout time.Duration `yaml:"upgrade_timeout"` // for a successor to serve

	// See limits.go.
	MaxHeader     Size          `yaml:"max_header"`
	MaxHeaders    int           `yaml:"max_headers"`
	MaxJSONDepth  int           `yaml:"max_json_depth"`
	MaxTensors    int           `yaml:"max_tensors"`
	MaxRatio      int           `yaml:"max_decompression_ratio"`
	MaxBuffered   Size          `yaml:"max_buffered"` // 0 = the larger of 1 GiB and 4 * MaxBody
	MaxUploads    int           `yaml:"max_uploads"`
	MaxResponse   Size          `yaml:"max_response"` // of a worker, in bytes
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	WriteTimeout  time.Duration `yaml:"write_timeout"`
	MinBodyRate   int           `yaml:"min_body_rate"` // bytes per second; 0 = any
}

// Model is what clients ask for by name.
type Model struct {
	Name        string `yaml:"name"`
	QoS         QoS    `yaml:"qos"`
	MaxBatch    int    `yaml:"max_batch"` // items per execution; 0 = the largest that was measured, or 64; 1 = never merge
	Split       *bool  `yaml:"split"`     // whether the rows of a request may run apart; nil = yes
	Batched     *bool  `yaml:"batched"`   // whether the first dimension is a batch; nil = learned from the workers
	MaxQueue    int    `yaml:"max_queue"` // requests waiting
	MaxAttempts int    `yaml:"max_attempts"`

	EarlyExit EarlyExit `yaml:"early_exit"`
	Cascade   *Cascade  `yaml:"cascade"` // other models answer for it; nil = workers do
	Cost      Cost      `yaml:"cost"`    // for priors; see roofline.Cost
	// Inputs and Outputs are the metadata of a model that only emulated
	// workers with the answer "echo" serve; empty = any.
	Inputs  []Tensor `yaml:"inputs"`
	Outputs []Tensor `yaml:"outputs"`
}

// QoS is the latency that a model's requests are to meet.
type QoS struct {
	Target     time.Duration `yaml:"target"`     // also the deadline of a request that names none
	Percentile float64       `yaml:"percentile"` // share of requests that must meet it, in %
}

// Tensor describes one input or output; −1 in Shape is a variable dimension.
type Tensor struct {
	Name     string  `yaml:"name"`
	Datatype string  `yaml:"datatype"` // as OIP writes it: FP32, INT64, BYTES, …
	Shape    []int64 `yaml:"shape"`
}

// InstanceType is a priced kind of hardware.
type InstanceType struct {
	Name        string  `yaml:"name"`
	USDPerHour  float64 `yaml:"usd_per_hour"` // 0 = not priced
	Accelerator string  `yaml:"accelerator"`  // empty = none
	Device      string  `yaml:"device"`       // a name of package roofline; see Hardware
	DeviceCount int     `yaml:"device_count"` // GPUs or cores that a batch runs on; 0 = 1

	// For planning: see planner.Type.
	Limit                int           `yaml:"limit"` // most instances; 0 = no limit
	Min                  int           `yaml:"min"`   // least on demand
	SpotUSDPerHour       float64       `yaml:"spot_usd_per_hour"`
	InterruptionsPerHour float64       `yaml:"interruptions_per_hour"` // of a spot instance
	Recovery             time.Duration `yaml:"recovery"`               // until another one serves
}

// Learned says where what the router learns outlives it.
type Learned struct {
	File     string        `yaml:"file"`     // of profiles; empty = nowhere; absolute after Load
	Interval time.Duration `yaml:"interval"` // between two savings
}

// Exits is the file in which what is learned of a model's early exits outlives
// the router, beside that of the profiles; empty = nowhere.
func (l *Learned) Exits(model string) string {
	if l.File == "" {
		return ""
	}
	return l.File + "." + model + ".exits"
}

// Worker is one model server, or Count alike. Exactly one of Embedded, Remote
// and Emulated is set.
type Worker struct {
	Name        string    `yaml:"name"`
	Type        string    `yaml:"type"`        // name of an instance type
	Count       int       `yaml:"count"`       // 0 = number of CPUs; see Expand
	Concurrency int       `yaml:"concurrency"` // batches it runs at once
	Models      []string  `yaml:"models"`      // empty = all
	Embedded    *Embedded `yaml:"embedded"`
	Remote      *Remote   `yaml:"remote"`
	Emulated    *Emulated `yaml:"emulated"`
	Hardware    *Hardware `yaml:"hardware"` // nil = this host's processors for an embedded one, else unknown
	Spot        *Spot     `yaml:"spot"`     // nil = nobody tells that it is about to be taken away
}

// Embedded runs models in the router's process.
type Embedded struct {
	Engine  string `yaml:"engine"`  // builtin, onnxruntime
	Path    string `yaml:"path"`    // .onnx file or a directory of them; empty = built in; absolute after Load
	Library string `yaml:"library"` // ONNX Runtime's shared library; empty = found by the usual names
	Threads int    `yaml:"threads"` // per execution
	Arena   bool   `yaml:"arena"`   // ONNX Runtime's memory arena
	GPU     string `yaml:"gpu"`     // auto, off
}

// Remote is an OIP server somewhere else.
type Remote struct {
	URL           string            `yaml:"url"`            // http or https; a path is a prefix
	TLS           *RemoteTLS        `yaml:"tls"`            // for https; nil = the system's certificates
	Binary        string            `yaml:"binary"`         // the binary tensor extension: auto, on, off
	Timeout       time.Duration     `yaml:"timeout"`        // for one execution
	Connections   int               `yaml:"connections"`    // open at once
	ModelNames    map[string]string `yaml:"model_names"`    // by model: its name on the server, where it differs
	ProbeInterval time.Duration     `yaml:"probe_interval"` // between readiness probes
}

// Emulated answers after the time that a measured instance would have taken.
type Emulated struct {
	ProfileModel string `yaml:"profile_model"` // the profile rows of this model and the worker's type
	Answer       string `yaml:"answer"`        // echo, embedded
	Seed         uint64 `yaml:"seed"`          // of the variation in the pacing
}

// Breaker keeps work away from a failing worker.
type Breaker struct {
	Failures int           `yaml:"failures"` // consecutive ones that open it
	Open     time.Duration `yaml:"open"`     // at first; doubles
	MaxOpen  time.Duration `yaml:"max_open"`
}

// Values that fields may take.
var (
	Policies = []string{"priced", "least-load", "fcfs", "p2c", "size-threshold", "clockwork", "kairos", "least-conn", "random-two"}
	// BuiltinModels are the models that the builtin engine has without a path.
	BuiltinModels = []string{"fashion"}

	levels   = []string{"debug", "info", "warn", "error"}
	formats  = []string{"text", "json"}
	engines  = []string{"builtin", "onnxruntime"}
	gpus     = []string{"auto", "off"}
	binaries = []string{"auto", "on", "off"}
	answers  = []string{"echo", "embedded"}
)

// The defaults, set before a struct is read, so that a value written in the
// file counts even when it is zero.

func (c *Config) setDefaults() {
	c.Listen = ":8000"
	c.Policy = "priced"
	c.Admin.setDefaults()
	c.Log.setDefaults()
	c.Tracing.setDefaults()
	c.Limits.setDefaults()
	c.Learned.setDefaults()
	c.Breaker.setDefaults()
	c.Failures.setDefaults()
	c.Health.setDefaults()
	c.Reload.setDefaults()
	c.Plan.setDefaults()
}

func (l *Log) setDefaults() {
	l.Level, l.Format = "info", "text"
	l.Access.setDefaults()
}

func (l *Limits) setDefaults() {
	l.MaxBody = 64 << 20
	l.MaxConnections = 20000
	l.ReadTimeout = 60 * time.Second
	l.IdleTimeout = 120 * time.Second
	l.DrainTimeout = 30 * time.Second
	l.Linger = time.Second
	l.UpgradeTimeout = time.Minute
	l.setFineDefaults()
}

func (m *Model) setDefaults() {
	m.QoS.setDefaults()
	m.Cost.setDefaults()
	m.EarlyExit.setDefaults()
	m.MaxQueue = 10000
	m.MaxAttempts = 3
}

func (q *QoS) setDefaults() { q.Target, q.Percentile = time.Second, 99 }

func (l *Learned) setDefaults() { l.Interval = time.Minute }

func (w *Worker) setDefaults() { w.Count, w.Concurrency = 1, 1 }

func (e *Embedded) setDefaults() {
	e.Engine, e.Threads, e.Arena, e.GPU = "builtin", 1, true, "auto"
}

func (r *Remote) setDefaults() {
	r.Binary = "auto"
	r.Timeout = 30 * time.Second
	r.Connections = 64
	r.ProbeInterval = time.Second
}

func (e *Emulated) setDefaults() { e.Answer, e.Seed = "echo", 1 }

func (b *Breaker) setDefaults() {
	b.Failures = pool.DefaultFailures
	b.Open = pool.DefaultOpen
	b.MaxOpen = pool.DefaultMaxOpen
}

// Expand returns the workers one by one, each with its own name and a Count
// of 1: a worker whose count is not 1 becomes name-0, name-1, …; a count of 0
// is that many CPUs.
func (c *Config) Expand(cpus int) []Worker {
	var all []Worker
	for _, w := range c.Workers {
		if w.Count == 1 {
			all = append(all, w)
			continue
		}
		n := w.Count
		if n == 0 {
			n = max(cpus, 1)
		}
		for i := range n {
			one := w
			one.Name, one.Count = fmt.Sprintf("%s-%d", w.Name, i), 1
			all = append(all, one)
		}
	}
	return all
}

// Serves returns the names of the models that w serves, in the
// configuration's order.
func (c *Config) Serves(w *Worker) []string {
	var names []string
	for _, m := range c.Models {
		if m.Cascade == nil && (len(w.Models) == 0 || slices.Contains(w.Models, m.Name)) {
			names = append(names, m.Name)
		}
	}
	return names
}

// Points returns the profile rows of one model on one instance type.
func (c *Config) Points(model, instanceType string) []pool.Point {
	var points []pool.Point
	for _, r := range c.Rows {
		if r.Model == model && r.InstanceType == instanceType {
			points = append(points, r.Point)
		}
	}
	return points
}
