package profiler

import (
	"fmt"
	"io"
	"time"

	"motley/internal/pool"
)

// WriteCSV writes the sizes as the file that `profiles:` of a configuration
// names; comments say what was measured, and when. A result without sizes has no
// lines. Each (model, type) may come once: see Pooled.
func WriteCSV(w io.Writer, results []Result, when time.Time) error {
	if _, err := fmt.Fprintf(w, "# measured by router profile, %s\n", when.UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	var all []pool.Learned
	for _, r := range results {
		if len(r.Sizes) == 0 {
			continue
		}
		p, err := pool.NewProfile(pointsOf(r.Sizes))
		if err != nil {
			return fmt.Errorf("cannot write the profile of %s on %s: %w", r.Target.Model, r.Target.Type, err)
		}
		all = append(all, pool.Learned{Model: r.Target.Model, InstanceType: r.Target.Type, Profile: p})
		// Quoted: a name may hold anything, and a comment is one line.
		if _, err := fmt.Fprintf(w, "# %q on %q: %d sizes; law %s ms + %s ms per item\n", r.Target.Model, r.Target.Type,
			len(r.Sizes), Figure(r.Law.Fixed), Figure(r.Law.PerItem)); err != nil {
			return err
		}
	}
	return pool.WriteProfiles(w, all)
}
