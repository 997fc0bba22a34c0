package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"motley/internal/profiler"
	"motley/internal/statefile"
)

// measured is what came of a group: a result for each worker that was tried, of
// which the first that was ready counts, or all of them.
type measured struct {
	results []profiler.Result
	pooled  profiler.Result
	err     error
}

// measure measures the groups one after the other: workers of this process would
// disturb each other. The time that is left is shared evenly.
func measure(ctx context.Context, groups []group, opt ProfileOptions, recording *profiler.Recording) []measured {
	ends := time.Now().Add(opt.Budget)
	var all []measured
	for i, g := range groups {
		own := profiler.Options{Batches: opt.Batches, Vary: opt.Vary, Recording: recording, Seed: uint64(i)}
		if opt.Bar != nil {
			own.Progress = func(p profiler.Progress) { opt.Bar.Show(p, i, len(groups)) }
		}
		until := time.Now().Add(time.Until(ends) / time.Duration(len(groups)-i))
		all = append(all, g.measure(ctx, own, until, opt.All))
	}
	if opt.Bar != nil {
		opt.Bar.Clear()
	}
	return all
}

// measure measures the first worker that is ready, or every one.
func (g *group) measure(ctx context.Context, opt profiler.Options, until time.Time, every bool) measured {
	var m measured
	var good []profiler.Result
	for i, t := range g.targets {
		if i > 0 && !time.Now().Before(until) {
			break
		}
		opt.Budget = time.Until(until)
		if every {
			opt.Budget /= time.Duration(len(g.targets) - i)
		}
		r := profiler.Measure(ctx, t, opt)
		m.results = append(m.results, r)
		if len(r.Sizes) > 0 {
			good = append(good, r)
		}
		if r.Err != nil {
			m.err = errors.Join(m.err, fmt.Errorf("%s on %s: worker %s: %w", t.Model, t.Type, t.Worker, r.Err))
		}
		if !every && (len(r.Sizes) > 0 || ctx.Err() != nil) {
			break
		}
	}
	m.pooled = profiler.Result{Target: g.targets[0]}
	if len(good) > 0 {
		m.pooled = profiler.Pooled(good)
		// A worker that was down does not matter where another of its type is as good.
		if !every && good[len(good)-1].Err == nil {
			m.err = nil
		}
	}
	return m
}

// report writes what was measured, and says what could not be.
func report(all []measured, opt ProfileOptions, w io.Writer) error {
	var each, pooled []profiler.Result
	var faults []error
	for _, m := range all {
		each = append(each, m.results...)
		if len(m.results) > 1 && opt.All {
			last := &each[len(each)-1]
			last.Notes = append(last.Notes, m.pooled.Notes...)
		}
		pooled = append(pooled, m.pooled)
		if m.err != nil {
			faults = append(faults, m.err)
		}
	}
	if err := write(each, pooled, opt, w); err != nil {
		return err
	}
	if len(faults) > 0 {
		text := strings.ReplaceAll(errors.Join(faults...).Error(), "\n", "; ")
		return fmt.Errorf("%d of %d could not be measured, or not to the end: %s", len(faults), len(all), text)
	}
	return nil
}

// write writes the report of each result to w, and the pooled ones to the files.
func write(each, pooled []profiler.Result, opt ProfileOptions, w io.Writer) error {
	print := profiler.Print
	if opt.JSON {
		print = profiler.WriteJSON
	}
	if err := print(w, each); err != nil {
		return err
	}
	// A file that is there is not replaced by nothing.
	some := slices.ContainsFunc(pooled, func(r profiler.Result) bool { return len(r.Sizes) > 0 })
	if opt.Out != "" && some {
		var table bytes.Buffer
		err := profiler.WriteCSV(&table, pooled, time.Now())
		if err == nil {
			err = statefile.Replace(opt.Out, 0o644, table.Bytes())
		}
		if err != nil {
			return fmt.Errorf("cannot write the profiles: %w", err)
		}
	}
	if opt.Plot != "" && some {
		if err := profiler.Plot(opt.Plot, pooled); err != nil {
			return fmt.Errorf("cannot draw the plot: %w", err)
		}
	}
	return nil
}
