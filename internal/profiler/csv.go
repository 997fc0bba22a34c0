package profiler

import (
	"fmt"
	"io"
	"time"

	"motley/internal/pool"
)

// WriteCSV writes the sizes as the file that `profiles:` of a configuration
// names; comments say where they come from, and when. Unknown percentiles are left
// empty. A result without sizes has no lines, and a prior is refused: whoever reads
// the file takes all of it for measured. Each (model, type) may come once: see
// Pooled.
func WriteCSV(w io.Writer, results []Result, when time.Time) error {
	said := map[Origin]bool{}
	var rows []pool.Row
	for _, r := range results {
		if len(r.Sizes) == 0 {
			continue
		}
		if r.Origin == Estimated {
			return fmt.Errorf("cannot write the profile of %s on %s: it is a prior, which a file of measured latencies is no place for", r.Target.Model, r.Target.Type)
		}
		if !said[r.Origin] {
			said[r.Origin] = true
			if _, err := fmt.Fprintf(w, "# %s, %s\n", heads[r.Origin], when.UTC().Format(time.RFC3339)); err != nil {
				return err
			}
		}
		p, err := pool.NewProfile(pointsOf(r.Sizes))
		if err != nil {
			return fmt.Errorf("cannot write the profile of %s on %s: %w", r.Target.Model, r.Target.Type, err)
		}
		// A profile never falls, and what it is made of may.
		for i, pt := range p.Points() {
			if r.Sizes[i].P99 == 0 {
				pt.P99 = 0
			}
			rows = append(rows, pool.Row{Model: r.Target.Model, InstanceType: r.Target.Type, Point: pt})
		}
		// Quoted: a name may hold anything, and a comment is one line.
		if _, err := fmt.Fprintf(w, "# %q on %q: %s, %d sizes; law %s ms + %s ms per item\n", r.Target.Model, r.Target.Type,
			r.Origin, len(r.Sizes), Figure(r.Law.Fixed), Figure(r.Law.PerItem)); err != nil {
			return err
		}
	}
	return pool.WriteRows(w, rows)
}

// heads are the first lines of a file.
var heads = [...]string{
	Measured: "measured by router profile",
	Passive:  "passive: means of servers' own statistics, which have no percentiles; router profile",
	Learned:  "learned by a router from what it served; router profile",
}
