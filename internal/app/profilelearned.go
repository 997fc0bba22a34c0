package app

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"motley/internal/pool"
	"motley/internal/profiler"
	"motley/internal/statefile"
)

// ExportLearned writes what a router has learned and saved (opt.From) as Profile
// writes what it measures. No worker is asked, and no configuration is needed.
func ExportLearned(opt ProfileOptions, w io.Writer) error {
	all, err := readLearned(opt.From)
	if err != nil {
		return fmt.Errorf("cannot export: %w", err)
	}
	var results []profiler.Result
	for _, l := range all {
		if opt.Model != "" && l.Model != opt.Model || !wants(opt.Types, l.InstanceType) {
			continue
		}
		points := l.Profile.Points()
		if len(points) == 0 {
			continue
		}
		r := profiler.Told(l.Model, l.InstanceType, profiler.Learned, fmt.Sprintf("%d batches, saved in %s", l.Profile.Samples(), opt.From), points)
		if drifts, replaced := l.Profile.Drifts(); drifts+replaced > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("batches began to lie off the estimate %d times, and %d times so far that what was known was dropped", drifts, replaced))
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return errors.New("cannot export: nothing in " + opt.From + " is of the model and the types")
	}
	return write(results, results, opt, w)
}

func readLearned(name string) ([]pool.Learned, error) {
	c, err := statefile.Read(name, profilesKind, keptVersion)
	if err != nil {
		return nil, err
	}
	all, err := loadProfiles(c.Payload)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// wants reports whether an instance type is asked for; no names are all.
func wants(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }
