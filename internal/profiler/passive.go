package profiler

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"motley/internal/oip"
)

// Watch makes latencies by batch size of what servers count of the batches that
// they run anyway: of two answers to GET /v2/models/{m}/stats the differences of
// batch_stats are the executions between them. They are summed over servers, which
// are to be of one instance type. It is not safe for concurrent use.
type Watch struct {
	last     map[counter]totals
	seen     map[string]map[int]*watched // by version, by batch
	restarts int
	runs     uint64 // executions between polls, also those that are not told by batch size
	silent   bool   // some were not
}

// counter is whose counters: a server's, of one version of the model.
type counter struct{ server, version string }

// totals are the counters as they stood last.
type totals struct {
	executions uint64
	batches    map[int]oip.BatchStats
}

// watched is what is known of one batch size of one version.
type watched struct {
	runs     float64
	ns       float64
	means    []float64 // by interval in which it ran, ns
	weights  []float64 // runs behind them
	interval int       // the last one counted
	inRuns   float64   // of it
	inNS     float64
}

// NewWatch returns one that has seen nothing.
func NewWatch() *Watch {
	return &Watch{last: map[counter]totals{}, seen: map[string]map[int]*watched{}}
}

// Add takes what a server tells in the poll of that number, by which intervals are
// told apart. What a server tells first is only where it stands. Counters that fell
// are those of a server that has restarted: all they say has happened since.
func (w *Watch) Add(server string, poll int, stats []oip.ModelStats) {
	known := w.has(server)
	for i := range stats {
		s := &stats[i]
		from := counter{server, s.Version}
		now := totals{s.ExecutionCount, map[int]oip.BatchStats{}}
		for _, b := range s.BatchStats {
			now.batches[int(b.BatchSize)] = b
		}
		before, there := w.last[from]
		w.last[from] = now
		if !there && !known {
			continue // the first look at this server
		}
		if there && before.above(now) {
			w.restarts++
			before = totals{}
		}
		ran := now.executions - before.executions
		w.runs += ran
		told := uint64(0)
		for _, b := range s.BatchStats { // as the server orders them
			told += w.count(s.Version, poll, b, before.batches[int(b.BatchSize)])
		}
		w.silent = w.silent || ran > 0 && told == 0
	}
}

func (w *Watch) has(server string) bool {
	for o := range w.last {
		if o.server == server {
			return true
		}
	}
	return false
}

// above reports whether a counter is over what it became.
func (t totals) above(now totals) bool {
	if t.executions > now.executions {
		return true
	}
	for size, b := range t.batches {
		n := now.batches[size]
		if b.ComputeInfer.Count > n.ComputeInfer.Count || b.ComputeInfer.Ns > n.ComputeInfer.Ns {
			return true
		}
	}
	return false
}

// What is believed of a server between two polls.
const (
	believedRuns = 1 << 40
	believedRun  = 3.6e12 // ns, as a file of profiles bounds it
)

// count adds the executions of one size since before, and returns how many.
func (w *Watch) count(version string, poll int, now, before oip.BatchStats) uint64 {
	if now.ComputeInfer.Count <= before.ComputeInfer.Count || now.BatchSize < 1 || now.BatchSize > math.MaxInt32 {
		return 0
	}
	runs := now.ComputeInfer.Count - before.ComputeInfer.Count
	ns := 0.0
	for _, part := range [...][2]oip.Stat{
		{now.ComputeInput, before.ComputeInput}, {now.ComputeInfer, before.ComputeInfer}, {now.ComputeOutput, before.ComputeOutput},
	} {
		if part[0].Count > part[1].Count && part[0].Ns >= part[1].Ns {
			ns += float64(part[0].Ns-part[1].Ns) / float64(part[0].Count-part[1].Count) * float64(runs)
		}
	}
	if runs > believedRuns || ns > float64(runs)*believedRun {
		return 0 // no server has done that
	}
	sizes := w.seen[version]
	if sizes == nil {
		sizes = map[int]*watched{}
		w.seen[version] = sizes
	}
	size := sizes[int(now.BatchSize)]
	if size == nil {
		size = &watched{interval: poll}
		sizes[int(now.BatchSize)] = size
	}
	if size.interval != poll {
		size.close()
		size.interval = poll
	}
	size.inRuns, size.inNS = size.inRuns+float64(runs), size.inNS+ns
	size.runs, size.ns = size.runs+float64(runs), size.ns+ns
	return runs
}

// close ends an interval.
func (s *watched) close() {
	if s.inRuns > 0 {
		s.means, s.weights = append(s.means, s.inNS/s.inRuns), append(s.weights, s.inRuns)
	}
	s.inRuns, s.inNS = 0, 0
}

// pooled is what is known of one batch size, or of several that are close.
type pooled struct {
	items, runs, ns float64 // items and ns summed over runs
	// The scatter of intervals' means about their size's mean, each times the runs
	// behind it, and how many of these are free. A mean of n runs scatters by the square
	// root of n less than runs do, so each of them is an estimate of the variance of a run.
	squares, free float64
}

func (s *watched) pooled(batch int) pooled {
	s.close()
	p := pooled{items: float64(batch) * s.runs, runs: s.runs, ns: s.ns, free: float64(len(s.means) - 1)}
	for i, m := range s.means {
		p.squares += s.weights[i] * (m - s.ns/s.runs) * (m - s.ns/s.runs)
	}
	return p
}

func (p *pooled) add(q pooled) {
	p.items, p.runs, p.ns = p.items+q.items, p.runs+q.runs, p.ns+q.ns
	p.squares, p.free = p.squares+q.squares, p.free+q.free
}

func (p *pooled) size() Size {
	mean := p.ns / p.runs
	out := Size{Batch: int(math.Round(p.items / p.runs)), Count: int(p.runs), Mean: nanoseconds(mean), Half: nanoseconds(mean)}
	if p.free > 0 {
		variance := p.squares / p.free
		out.Half = min(nanoseconds(student(p.free)*math.Sqrt(variance/p.runs)), out.Mean)
		out.variance = variance / max(1, mean*mean)
	}
	return out
}

const (
	// mostSizes is how many batch sizes are told one by one. Where clients send any
	// size there are hundreds, most of them run once.
	mostSizes = 24
	// perOctave is into how many classes those between two powers of two go then.
	perOctave = 4
)

// sizesOf are what is known by rising batch, those that are close together where
// there are too many.
func sizesOf(seen map[int]*watched) []Size {
	batches := slices.Sorted(maps.Keys(seen))
	class := func(n int) int { return n }
	if len(batches) > mostSizes {
		class = func(n int) int { return int(math.Floor(perOctave * math.Log2(float64(n)))) }
	}
	var all []Size
	for i := 0; i < len(batches); {
		one := seen[batches[i]].pooled(batches[i])
		from := class(batches[i])
		for i++; i < len(batches) && class(batches[i]) == from; i++ {
			one.add(seen[batches[i]].pooled(batches[i]))
		}
		all = append(all, one.size())
	}
	return all
}

// Result is what is known by now; servers names for people whom it was read of, and
// took is for how long. Of several versions it is the busiest.
func (w *Watch) Result(t Target, servers string, took time.Duration) Result {
	r := Result{Target: t, Origin: Passive, Took: took}
	type version struct {
		name string
		runs float64
	}
	var versions []version
	for name, sizes := range w.seen {
		v := version{name: name}
		for _, s := range sizes {
			v.runs += s.runs
		}
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(a, b version) int { return cmp.Or(cmp.Compare(b.runs, a.runs), cmp.Compare(a.name, b.name)) })
	r.Source = fmt.Sprintf("%d batches that %s counted in %s", w.runs, servers, took.Round(time.Millisecond))
	if w.restarts > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("counters began anew %d times: what such a server said next is all taken as new", w.restarts))
	}
	switch {
	case w.runs == 0:
		r.Err = fmt.Errorf("nothing was executed on %s in %s: passive profiles need traffic", servers, took.Round(time.Millisecond))
	case len(versions) == 0:
		r.Err = fmt.Errorf("%s counted %d executions, but does not tell them by batch size (batch_stats): measure instead, without -passive", servers, w.runs)
	}
	if r.Err != nil {
		return r
	}
	if w.silent {
		r.Notes = append(r.Notes, "some executions were not told by batch size")
	}
	if len(versions) > 1 {
		var others []string
		for _, v := range versions[1:] {
			others = append(others, fmt.Sprintf("%s (%.0f batches)", v.name, v.runs))
		}
		r.Notes = append(r.Notes, fmt.Sprintf("of version %s, which was the busiest; left out: %s", versions[0].name, strings.Join(others, ", ")))
	}
	sizes := w.seen[versions[0].name]
	for batch := range sizes {
		r.Largest = max(r.Largest, batch)
	}
	if r.Sizes = sizesOf(sizes); len(r.Sizes) < len(sizes) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d batch sizes were run: those close together are one line", len(sizes)))
	}
	r.Runs = int(versions[0].runs)
	r.Notes = append(r.Notes, "means only, of the execution alone: waiting, network and percentiles are not in them")
	r.conclude()
	return r
}
