package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

// Disturb is what is to go otherwise than was measured, as command lines say
// it: see the usage of bench.
type Disturb struct {
	Noise   string   // SD, or normal:SD
	Slow    []string // TYPE,factor=F[,from=D][,to=D]
	Drift   []string // TYPE,per-hour=F
	Outages []string // WORKER,from=D[,to=D][,notice=D]
	Speeds  string   // FILE,test=TEXT,sku=TEXT[,every=D]
	Round   time.Duration
}

// apply adds the disturbances to the set-up of a mix.
func (d *Disturb) apply(s *Setup, counts []int) error {
	if d.Noise != "" {
		n, err := parseNoise(d.Noise)
		if err != nil {
			return usagef("-noise: %v", err)
		}
		s.Disturb = append(s.Disturb, n)
	}
	for _, text := range d.Slow {
		if err := d.slow(s, text); err != nil {
			return usagef("-slow: %v", err)
		}
	}
	for _, text := range d.Drift {
		p, err := parseSpec(text, "per-hour")
		if err == nil {
			err = s.hasType(p.first)
		}
		if err != nil {
			return usagef("-drift: %v", err)
		}
		rate, err := p.number("per-hour", 0, -1000, 1000)
		if err != nil {
			return usagef("-drift: %v", err)
		}
		s.Disturb = append(s.Disturb, sim.Drift(p.first, rate))
	}
	if d.Speeds != "" {
		if err := d.speeds(s); err != nil {
			return fmt.Errorf("-speeds: %w", err)
		}
	}
	for _, text := range d.Outages {
		o, err := parseOutage(text, workerNames(s.Types, counts))
		if err != nil {
			return usagef("-outage: %v", err)
		}
		s.Outages = append(s.Outages, o)
	}
	if d.Round < 0 {
		return usagef("-round: %v: must not be negative", d.Round)
	}
	if d.Round > 0 {
		s.Disturb = append(s.Disturb, sim.Rounded(d.Round))
	}
	return nil
}

func (d *Disturb) slow(s *Setup, text string) error {
	p, err := parseSpec(text, "factor", "from", "to")
	if err == nil {
		err = s.hasType(p.first)
	}
	if err != nil {
		return err
	}
	factor, err := p.number("factor", 0, 1e-3, 1e6)
	if err != nil {
		return err
	}
	from, to, err := p.span()
	if err != nil {
		return err
	}
	s.Disturb = append(s.Disturb, sim.Slowdown(p.first, from, to, factor))
	return nil
}

func (d *Disturb) speeds(s *Setup) error {
	p, err := parseSpec(d.Speeds, "test", "sku", "every")
	if err != nil {
		return &usageError{err.Error()}
	}
	every, err := p.duration("every", 5*time.Minute)
	if err != nil {
		return &usageError{err.Error()}
	}
	return withFile(p.first, func(r io.Reader) error {
		speeds, err := sim.ReadSpeeds(p.first, r, p.values["test"], p.values["sku"])
		if err == nil {
			s.Disturb = append(s.Disturb, sim.MeasuredSpeeds(speeds, every))
		}
		return err
	})
}

func (s *Setup) hasType(name string) error {
	if !slices.ContainsFunc(s.Types, func(t pool.InstanceType) bool { return t.Name == name }) {
		return fmt.Errorf("%q: there is no such instance type in the mix", name)
	}
	return nil
}

// workerNames are as package sim numbers workers: type by type.
func workerNames(types []pool.InstanceType, counts []int) []string {
	var names []string
	for i, n := range counts {
		for k := range n {
			names = append(names, fmt.Sprintf("%s-%d", types[i].Name, k))
		}
	}
	return names
}

func parseNoise(text string) (sim.Disturbance, error) {
	sd, normal := strings.CutPrefix(text, "normal:")
	v, err := strconv.ParseFloat(sd, 64)
	if err != nil || !(v >= 0 && v <= 100) { // the negation catches NaN
		return nil, fmt.Errorf("%q: want a standard deviation from 0 to 100, or normal:SD", text)
	}
	if normal {
		return sim.NormalNoise(v), nil
	}
	return sim.LognormalNoise(v), nil
}

func parseOutage(text string, workers []string) (sim.Outage, error) {
	p, err := parseSpec(text, "from", "to", "notice")
	if err != nil {
		return sim.Outage{}, err
	}
	w := slices.Index(workers, p.first)
	if w < 0 {
		return sim.Outage{}, fmt.Errorf("%q: there is no such worker; there are %s", p.first, strings.Join(workers, ", "))
	}
	from, to, err := p.span()
	if err != nil {
		return sim.Outage{}, err
	}
	notice, err := p.duration("notice", 0)
	return sim.Outage{Worker: pool.WorkerID(w), From: from, To: to, Notice: notice}, err
}

// spec is "first,key=value,…" taken apart.
type spec struct {
	first  string
	values map[string]string
}

func parseSpec(text string, keys ...string) (spec, error) {
	parts := strings.Split(text, ",")
	p := spec{first: strings.TrimSpace(parts[0]), values: map[string]string{}}
	if p.first == "" || strings.Contains(p.first, "=") {
		return spec{}, fmt.Errorf("%q: must begin with a name", text)
	}
	for _, part := range parts[1:] {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || !slices.Contains(keys, key) {
			return spec{}, fmt.Errorf("%q: want %s=…", part, strings.Join(keys, "=…, "))
		}
		if _, twice := p.values[key]; twice {
			return spec{}, fmt.Errorf("%s: given twice", key)
		}
		p.values[key] = value
	}
	return p, nil
}

func (p spec) number(key string, def, low, high float64) (float64, error) {
	text, ok := p.values[key]
	if !ok {
		text = strconv.FormatFloat(def, 'g', -1, 64)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= low && v <= high) { // the negation catches NaN
		return 0, fmt.Errorf("%s: %q: must be a number from %v to %v", key, text, low, high)
	}
	return v, nil
}

func (p spec) duration(key string, def time.Duration) (time.Duration, error) {
	text, ok := p.values[key]
	if !ok {
		return def, nil
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%s: %q: must be a duration such as 30s, not negative", key, text)
	}
	return v, nil
}

// span are the instants from and to; by default all of time.
func (p spec) span() (from, to mono.Time, err error) {
	start, err := p.duration("from", 0)
	if err != nil {
		return 0, 0, err
	}
	end, err := p.duration("to", time.Duration(mono.Never))
	if err == nil && end <= start {
		err = fmt.Errorf("to: %v: must be after from, %v", end, start)
	}
	return mono.Time(start), mono.Time(end), err
}
