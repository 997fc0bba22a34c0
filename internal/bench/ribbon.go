package bench

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"motley/internal/dispatch"
	"motley/internal/planner"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// Ribbon is the command `bench suite ribbon`: the simulator replays cells of
// the lookup tables that RIBBON's authors made with theirs.
type Ribbon struct {
	Dir   string // of the data: ribbon/planner_lookup.csv, ribbon/latency_samples.jsonl
	Cells int    // how many cells, drawn at random; more than there are = all
	Seed  uint64
}

// What the replay must show, in points of the share within QoS.
const (
	ribbonMedian  = 0.3
	ribbonClose   = 1.0
	ribbonShare   = 0.95 // of the cells within ribbonClose
	ribbonQueries = 10_000
)

// ErrOff says that a suite ran and did not show what it must.
var ErrOff = errors.New("not what it must be")

type ribbonModel struct {
	name     string
	qos, gap time.Duration
}

// ribbonModels are RIBBON's settings (configs.json beside its tables): the
// latency target and the mean gap between requests.
var ribbonModels = []ribbonModel{
	{"mtwnd", 21 * time.Millisecond, 1500 * time.Microsecond},
	{"dien", 30 * time.Millisecond, 2 * time.Millisecond},
	{"candle", 40 * time.Millisecond, 3 * time.Millisecond},
	{"resnet", 400 * time.Millisecond, 18 * time.Millisecond},
	{"vgg", 800 * time.Millisecond, 30 * time.Millisecond},
}

// lookup is a line of RIBBON's table: the share of requests within QoS of a
// mix, in %.
type lookup struct {
	model  string
	types  [3]string
	counts [3]int
	within float64
}

// Cell is a replayed line of the table.
type Cell struct {
	Model string `json:"model"`
	Mix   string `json:"mix"`
	// Table and Simulated are shares of the requests within QoS, 0…100, and Off
	// their difference in points.
	Table     float64 `json:"table_pct"`
	Simulated float64 `json:"simulated_pct"`
	Off       float64 `json:"off_points"`
}

// Run carries the command out. Its error is ErrOff where the simulator is not
// as close to the tables as it must be.
func (c *Ribbon) Run(out Output) error {
	if c.Dir == "" {
		return usagef("-data: none is given: RIBBON's tables do not come with the program")
	}
	if c.Cells < 1 {
		return usagef("-cells: %d: must be at least 1", c.Cells)
	}
	lines, err := c.lookups()
	if err != nil {
		return err
	}
	data, err := LoadData("", filepath.Join(c.Dir, "ribbon", "latency_samples.jsonl"))
	if err != nil {
		return err
	}
	measured := data.Models()
	lines = slices.DeleteFunc(lines, func(l lookup) bool { return !slices.Contains(measured, l.model) })
	rng := workload.Stream(c.Seed, "cells")
	rng.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	lines = lines[:min(c.Cells, len(lines))]
	cells := make([]Cell, len(lines))
	err = parallel(len(lines), func(i int) (err error) {
		cells[i], err = lines[i].replay(data, c.Seed)
		out.Progress.Say("cell %d of %d", i+1, len(lines))
		return err
	})
	if err != nil {
		return err
	}
	s := sumUp(cells)
	if out.JSON {
		err = writeJSON(out.Stdout, cells)
	} else {
		err = s.print(out.Stdout, cells)
	}
	if err == nil && !s.ok() {
		err = fmt.Errorf("RIBBON's tables: median error %.2f points, %.1f %% of the cells within %v: %w", s.median, 100*s.close, ribbonClose, ErrOff)
	}
	return err
}

// lookups reads the table.
func (c *Ribbon) lookups() ([]lookup, error) {
	name := filepath.Join(c.Dir, "ribbon", "planner_lookup.csv")
	var lines []lookup
	err := withFile(name, func(r io.Reader) (err error) {
		lines, err = readLookups(r)
		return err
	})
	if err == nil && len(lines) == 0 {
		err = errors.New("no cells in it")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // which names the file itself
		err = fmt.Errorf("cannot read RIBBON's table: %s: %w", name, err)
	}
	return lines, err
}

var lookupColumns = [...]string{"model", "type1", "type2", "type3", "n1", "n2", "n3", "cost_usd_per_h", "qos_satisfaction_pct"}

func readLookups(r io.Reader) ([]lookup, error) {
	in := csv.NewReader(r)
	header, err := in.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err // it names the line
	}
	if !slices.Equal(header, lookupColumns[:]) {
		return nil, fmt.Errorf("line 1: want the columns %s; there is %q", strings.Join(lookupColumns[:], ","), header)
	}
	var lines []lookup
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		l := lookup{model: record[0], types: [3]string(record[1:4])}
		for k := range l.counts {
			if l.counts[k], err = strconv.Atoi(record[4+k]); err != nil || l.counts[k] < 0 {
				return nil, fmt.Errorf("line %d: %s: %q: must be a whole number, not negative", line, lookupColumns[4+k], record[4+k])
			}
		}
		l.within, err = strconv.ParseFloat(record[8], 64)
		if err != nil || !(l.within >= 0 && l.within <= 100) { // the negation catches NaN
			return nil, fmt.Errorf("line %d: %s: %q: must be a number from 0 to 100", line, lookupColumns[8], record[8])
		}
		lines = append(lines, l)
	}
}

// replay simulates a line as its authors did: first come, first served, the
// first idle instance in the listed order, gaps and latencies of whole
// milliseconds, nobody turned away, nothing merged.
func (l *lookup) replay(data *Data, seed uint64) (Cell, error) {
	k := slices.IndexFunc(ribbonModels, func(m ribbonModel) bool { return m.name == l.model })
	if k < 0 {
		return Cell{}, fmt.Errorf("cannot replay %s: its QoS and rate are not known", l.model)
	}
	arrivals, err := workload.ParseArrivals("poisson-ms", nil)
	if err != nil {
		return Cell{}, err
	}
	sizes, err := workload.ParseSizes("ribbon", nil)
	if err != nil {
		return Cell{}, err
	}
	set := Setup{
		Model:    dispatch.Model{Name: l.model, QoS: ribbonModels[k].qos, Quantile: 0.99},
		Arrivals: arrivals, Sizes: sizes, Requests: ribbonQueries, Seeds: []uint64{seed},
		Disturb: []sim.Disturbance{sim.Rounded(time.Millisecond)},
	}
	for _, t := range l.types {
		set.Types = append(set.Types, pool.InstanceType{Name: t})
	}
	s, err := NewSetup(data, set)
	if err != nil {
		return Cell{}, err
	}
	r, err := s.runner(l.counts[:], mustVariant("fcfs", "fcfs", true, true))
	if err != nil {
		return Cell{}, err
	}
	m, err := r.Measure(1/ribbonModels[k].gap.Seconds(), seed)
	got := planner.Round(100*m.Share(), 4)
	return Cell{Model: l.model, Mix: mixText(s.Types, l.counts[:]), Table: l.within, Simulated: got, Off: planner.Round(got-l.within, 4)}, err
}

// offs is how far a replay is off, in points.
type offs struct {
	cells        int
	median, most float64
	close        float64 // share of the cells within ribbonClose
}

func sumUp(cells []Cell) offs {
	var all []float64
	s := offs{cells: len(cells)}
	for _, c := range cells {
		off := math.Abs(c.Off)
		all = append(all, off)
		if off <= ribbonClose {
			s.close += 1 / float64(len(cells))
		}
	}
	if len(all) == 0 {
		return s
	}
	slices.Sort(all)
	s.median, s.most = (all[(len(all)-1)/2]+all[len(all)/2])/2, all[len(all)-1]
	return s
}

func (s *offs) ok() bool {
	return s.median <= ribbonMedian && s.close >= ribbonShare-1e-9 && s.cells > 0
}

func (s *offs) print(w io.Writer, cells []Cell) error {
	fmt.Fprintf(w, "RIBBON's lookup tables, replayed: share of requests within QoS, %d requests a cell; errors in points\n", ribbonQueries)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "model\tcells\tmedian\tlargest\twithin %g\tthe worst\t\n", ribbonClose)
	for _, m := range ribbonModels {
		var own []Cell
		worst := Cell{}
		for _, c := range cells {
			if c.Model == m.name {
				own = append(own, c)
				if math.Abs(c.Off) >= math.Abs(worst.Off) {
					worst = c
				}
			}
		}
		if o := sumUp(own); o.cells > 0 {
			fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f\t%.1f %%\t%s: %.2f, table %.2f\t\n", m.name, o.cells, o.median, o.most, 100*o.close, worst.Mix, worst.Simulated, worst.Table)
		}
	}
	fmt.Fprintf(t, "all\t%d\t%.2f\t%.2f\t%.1f %%\tmust be: median at most %g, %g %% within %g\t\n", s.cells, s.median, s.most, 100*s.close, ribbonMedian, 100*ribbonShare, ribbonClose)
	return t.Flush()
}
