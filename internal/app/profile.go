package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"motley/internal/config"
	"motley/internal/pool"
	"motley/internal/profiler"
)

// ProfileOptions are what a command line says of profiling.
type ProfileOptions struct {
	Model     string   // "" = all
	Types     []string // instance types; empty = all
	Batches   []int
	Budget    time.Duration // for everything
	Share     float64       // of a worker's time; 0 = DefaultShare for remote workers, all of it for others
	Vary      int64
	Recording string // file of requests to send; "" = random ones
	Out       string // CSV; "" = none
	Plot      string // .svg or .png; "" = none
	JSON      bool
	All       bool          // every worker of a type, not one
	From      string        // saved profiles, in place of workers; "" = measure
	Every     time.Duration // over 0: between two polls of ProfilePassively
	Bar       *profiler.Bar
	Log       *slog.Logger
}

// DefaultShare is how much of its time a worker is kept busy that others may use
// as well.
const DefaultShare = 0.2

// Profile measures the workers of a configuration, without serving, and writes
// what it finds: a report to w, files as opt says. What was measured is written also
// where something goes wrong, or ctx ends, which is an error then.
func Profile(ctx context.Context, cfg *config.Config, opt ProfileOptions, w io.Writer) (err error) {
	var recording *profiler.Recording
	if opt.Recording != "" {
		if recording, err = readRecording(opt.Recording); err != nil {
			return err
		}
	}
	own, err := narrowed(cfg, opt)
	if err != nil {
		return fmt.Errorf("cannot profile: %w", err)
	}
	p, err := build(own, opt.Log)
	if err != nil {
		return fmt.Errorf("cannot profile: %w", err)
	}
	defer func() { err = errors.Join(err, p.closeAll()) }()
	groups := p.groups(own, opt)
	if len(groups) == 0 {
		return errors.New("cannot profile: the workers serve no model of their own")
	}
	if recording != nil && slices.ContainsFunc(groups, func(g group) bool { return g.model != groups[0].model }) {
		return errors.New("cannot profile: recorded requests are of one model: say which (-model)")
	}
	return report(measure(ctx, groups, opt, recording), opt, w)
}

// closeAll frees everything where no loop runs.
func (p *parts) closeAll() (err error) {
	for _, b := range p.backends {
		err = errors.Join(err, b.Close())
	}
	return errors.Join(err, p.close())
}

func readRecording(path string) (*profiler.Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read recorded requests: %w", err)
	}
	defer f.Close()
	rec, err := profiler.ReadRecording(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rec, nil
}

// narrowed is the part of the configuration that is to be measured. What the
// router has learned has no part in it, and its files are left alone.
func narrowed(cfg *config.Config, opt ProfileOptions) (*config.Config, error) {
	own := *cfg
	own.Learned.File = ""
	var names []string
	for _, t := range cfg.InstanceTypes {
		names = append(names, t.Name)
	}
	for _, t := range opt.Types {
		if !slices.Contains(names, t) {
			return nil, fmt.Errorf("there is no instance type %q; there is %s", t, strings.Join(names, ", "))
		}
	}
	names = nil
	cascaded := false
	for _, m := range cfg.Models {
		names = append(names, m.Name)
		cascaded = cascaded || m.Name == opt.Model && m.Cascade != nil
	}
	switch {
	case cascaded:
		return nil, fmt.Errorf("%q is a cascade, which no worker serves: measure the models that answer for it", opt.Model)
	case opt.Model != "" && !slices.Contains(names, opt.Model):
		return nil, fmt.Errorf("there is no model %q; there is %s", opt.Model, strings.Join(names, ", "))
	}
	own.Workers = nil
	for _, w := range cfg.Workers {
		if len(opt.Types) > 0 && !slices.Contains(opt.Types, w.Type) {
			continue
		}
		if opt.Model != "" {
			if !slices.Contains(cfg.Serves(&w), opt.Model) {
				continue
			}
			w.Models = []string{opt.Model}
		}
		own.Workers = append(own.Workers, w)
	}
	if len(own.Workers) == 0 {
		return nil, errors.New("no worker of the configuration is of these types and serves the model")
	}
	return &own, nil
}

// group are the workers of one type that serve one model.
type group struct {
	model, instanceType string
	targets             []profiler.Target
}

// groups are in the configuration's order.
func (p *parts) groups(cfg *config.Config, opt ProfileOptions) []group {
	remote := map[string]bool{}
	for _, w := range cfg.Expand(cpus()) {
		remote[w.Name] = w.Remote != nil
	}
	var all []group
	for m := range p.core.Models {
		for t := range p.core.Types {
			g := group{model: p.core.Models[m].Name, instanceType: p.core.Types[t].Name}
			for i := range p.core.Workers {
				w := &p.core.Workers[i]
				serves := slices.ContainsFunc(w.Serves, func(s pool.Serve) bool { return s.Model == pool.ModelID(m) })
				if w.Type != pool.TypeID(t) || !serves {
					continue
				}
				share := opt.Share
				if share == 0 {
					if share = 1; remote[w.Name] {
						share = DefaultShare
					}
				}
				g.targets = append(g.targets, profiler.Target{
					Model: g.model, Type: g.instanceType, Worker: w.Name, Backend: p.backends[i], Batched: p.probe.Batched[m],
					MaxBatch: p.core.Models[m].MaxBatch, Metadata: p.probe.Metadata[m], Share: share,
				})
			}
			if len(g.targets) > 0 {
				all = append(all, g)
			}
		}
	}
	return all
}
