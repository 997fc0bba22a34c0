package pool

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Points returns what the profile estimates of whole runs, as points that NewProfile takes:
// those measured or, where nothing was, the powers of two up to the first one
// that no batch was larger than. Count is the weight of the batches seen near
// a point, which fades with age, and 0 where there were none. Times are at
// least 1 ns. Nothing when nothing is known.
func (p *Profile) Points() []Point {
	// The bound is asked for at a quantile of its own, which changes a profile.
	c := p.Clone()
	c.like, c.mixed = nil, nil
	end := len(c.knots)
	for !c.seeded && end > 0 && c.knots[end-1].w == 0 {
		end--
	}
	var points []Point
	for _, k := range c.knots[:end] {
		mean := max(c.Mean(k.n), 1)
		points = append(points, Point{Batch: k.n, Mean: mean, P99: max(c.Bound(k.n, 0.99), mean), Count: int(k.w + 0.5)})
	}
	return points
}

// MadeFrom reports whether NewProfile made the profile, or the one it was
// saved as, from these points. If not, what was learned corrects another table
// and is better dropped.
func (p *Profile) MadeFrom(points []Point) bool {
	fresh, err := NewProfile(points)
	if err != nil || fresh.seeded != p.seeded {
		return false
	}
	if !p.seeded {
		return true
	}
	if len(fresh.knots) != len(p.knots) {
		return false
	}
	for i, k := range fresh.knots {
		if l := p.knots[i]; k.n != l.n || k.u != l.u || k.p99 != l.p99 {
			return false
		}
	}
	return true
}

// WriteProfiles writes what the profiles estimate as the CSV that ReadProfiles
// reads, for a planner, a simulator or another router to start from. Profiles
// that know nothing have no lines.
func WriteProfiles(w io.Writer, all []Learned) error {
	var rows []Row
	for _, l := range all {
		if err := checkNames(l.Model, l.InstanceType); err != nil {
			return err
		}
		for _, pt := range l.Profile.Points() {
			rows = append(rows, Row{l.Model, l.InstanceType, pt})
		}
	}
	return WriteRows(w, rows)
}

// WriteRows writes the CSV that ReadProfiles reads. The field of a P99 of 0, which
// was not measured, is left empty.
func WriteRows(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	write := func(fields ...string) {
		_ = out.Write(fields) // Flush keeps the error for Error
	}
	write(rowColumns[:]...)
	for _, r := range rows {
		if err := checkNames(r.Model, r.InstanceType); err != nil {
			return err
		}
		p99 := ""
		if r.P99 > 0 {
			p99 = formatMS(r.P99)
		}
		write(r.Model, r.InstanceType, strconv.Itoa(r.Batch), formatMS(r.Mean), p99)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("cannot write profiles: %w", err)
	}
	return nil
}

func checkNames(names ...string) error {
	for _, name := range names {
		if name == "" || name != strings.TrimSpace(name) || name[0] == '#' || strings.Contains(name, "\r") {
			return fmt.Errorf("cannot write profiles: the name %q would not be read back", name)
		}
	}
	return nil
}

func formatMS(d time.Duration) string {
	return strconv.FormatFloat(min(float64(d)/1e6, maxRowMS), 'f', -1, 64)
}
