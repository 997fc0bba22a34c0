package config

import (
	"net/url"
	"os"
	"strings"
	"time"
)

// Health says how workers are judged: by how long their batches take, and by
// what their hardware says.
type Health struct {
	Enabled    bool          `yaml:"enabled"`
	Interval   time.Duration `yaml:"interval"`    // between two looks at hardware
	StaleAfter time.Duration `yaml:"stale_after"` // the age from which a look is no news
	SlowStart  time.Duration `yaml:"slow_start"`  // until a worker that was out has all of its work
}

// Hardware says what a worker runs on, and who knows how that does. At most one
// of Local, Agent, Metrics and Recorded is set.
type Hardware struct {
	Local    string `yaml:"local"`    // of this host: a GPU's index or UUID, cpu, or none
	Agent    string `yaml:"agent"`    // URL of an agent's /v1/devices
	Metrics  string `yaml:"metrics"`  // URL of the metrics page of a DCGM exporter or a Triton server
	Recorded string `yaml:"recorded"` // file; absolute after Load
	Device   string `yaml:"device"`   // which one, by ID or index; empty = the only one
	CAFile   string `yaml:"ca_file"`  // PEM certificates to trust, for https; empty = the system's; absolute after Load
}

func (h *Health) setDefaults() {
	h.Enabled, h.Interval, h.StaleAfter, h.SlowStart = true, time.Second, 5*time.Second, 30*time.Second
}

func (h *Health) check(f *faults) {
	duration(f, "health.interval", h.Interval, 10*time.Millisecond)
	duration(f, "health.stale_after", h.StaleAfter, 10*time.Millisecond)
	duration(f, "health.slow_start", h.SlowStart, time.Millisecond)
	if h.StaleAfter > 0 && h.StaleAfter < 2*h.Interval {
		f.add("health.stale_after", h.StaleAfter, "must be at least twice health.interval: one look may be missed")
	}
}

func (h *Hardware) check(f *faults, at string) {
	var given []string
	for _, w := range []struct{ name, value string }{
		{"local", h.Local}, {"agent", h.Agent}, {"metrics", h.Metrics}, {"recorded", h.Recorded},
	} {
		if w.value != "" {
			given = append(given, w.name)
		}
	}
	if len(given) != 1 {
		f.add(at, strings.Join(given, " and "), "must have exactly one of local, agent, metrics and recorded")
	}
	for _, w := range []struct{ name, value string }{{"agent", h.Agent}, {"metrics", h.Metrics}} {
		if w.value != "" {
			checkPage(f, at+"."+w.name, w.value)
		}
	}
	if h.Local != "" && h.Device != "" {
		f.add(at+".device", h.Device, "local names the device already")
	}
	if h.CAFile != "" && !strings.HasPrefix(h.Agent, "https:") && !strings.HasPrefix(h.Metrics, "https:") {
		f.add(at+".ca_file", h.CAFile, "is for an agent or metrics with https")
	}
}

// open makes the paths independent of the file's directory and checks that the
// files are there.
func (h *Hardware) open(f *faults, at string, from func(string) string) {
	for _, file := range []struct {
		name string
		path *string
	}{{"recorded", &h.Recorded}, {"ca_file", &h.CAFile}} {
		written := *file.path
		if written == "" {
			continue
		}
		*file.path = from(written)
		if _, err := os.Stat(*file.path); err != nil {
			f.add(at+"."+file.name, written, "%s", reason(err))
		}
	}
}

// checkPage wants the URL of a page.
func checkPage(f *faults, field, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		f.add(field, text, "must be a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		f.add(field, text, "must be http or https")
	case u.Hostname() == "":
		f.add(field, text, "must name a host")
	case u.User != nil:
		f.add(field, u.Redacted(), "must not hold a user or password")
	}
}
