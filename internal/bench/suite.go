package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"motley/internal/dispatch"
	"motley/internal/planner"
	"motley/internal/pool"
	"motley/internal/workload"
)

// Suite is what the suites on KAIROS's models are given.
type Suite struct {
	// Dir is the folder of the data: kairos/latency_samples.jsonl, ribbon/…,
	// azure_functions/…, azure_vm_noise/…. Empty: the embedded profile table.
	Dir string
	// Quick measures with fewer requests and seeds.
	Quick  bool
	Models []string // of KAIROS's; nil = all five

	tiny scale // of tests; zero = as Quick says
}

// KAIROS's space of mixes (instance.json of its artefact): the most of each of
// DefaultPrices' types, at least one of the first, for a budget in USD/h.
const kairosBudget = 2.5

var kairosMost = [...]int{5, 6, 17, 15}

// scale is how much is simulated.
type scale struct {
	requests, seeds int
	// What mixes and thresholds are chosen by has seeds of its own.
	chooseRequests, chooseSeeds int
	candidates                  int // of the planner; 0 = its default
}

const (
	measureFrom = 1    // the first seed of what is reported
	chooseFrom  = 1001 // the first seed of what is chosen by
)

func (s *Suite) scale() scale {
	if s.tiny != (scale{}) {
		return s.tiny
	}
	if s.Quick {
		return scale{requests: 4_000, seeds: 1, chooseRequests: 2_000, chooseSeeds: 1, candidates: 8}
	}
	return scale{requests: 20_000, seeds: 3, chooseRequests: 5_000, chooseSeeds: 1}
}

// file is a file of the data folder.
func (s *Suite) file(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// load reads KAIROS's latencies.
func (s *Suite) load() (*Data, error) {
	if s.Dir == "" {
		return LoadData("", "")
	}
	if info, err := os.Stat(s.Dir); err != nil {
		return nil, fmt.Errorf("-data: %w", err)
	} else if !info.IsDir() {
		return nil, usagef("-data %s: must be a folder", s.Dir)
	}
	return LoadData("", s.file("kairos", "latency_samples.jsonl"))
}

// models are the names to run, in KAIROS's order.
func (s *Suite) models() ([]string, error) {
	var all []string
	for _, k := range kairosQoS {
		all = append(all, k.model)
	}
	if s.Models == nil {
		return all, nil
	}
	for i, m := range s.Models {
		if !slices.Contains(all, m) {
			return nil, usagef("-models: %q: want some of %s", m, strings.Join(all, ","))
		}
		if slices.Contains(s.Models[:i], m) {
			return nil, usagef("-models: %s is named twice", m)
		}
	}
	return s.Models, nil
}

// arena is one model under one law of arrivals, in KAIROS's space.
type arena struct {
	measure, choose *Setup // the same but for requests and seeds
	space           space
	mixes           [][]int          // all of the space
	bounds          []planner.Bounds // of each
	byUB, byBatch   []int            // their order by KairosUB and by Batching, highest first
	candidates      int              // see scale
}

// arenas sets up every model under every law of arrivals, models first.
func (s *Suite) arenas(laws ...string) ([]*arena, *Data, error) {
	names, err := s.models()
	if err != nil {
		return nil, nil, err
	}
	data, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	all := make([]*arena, len(names)*len(laws))
	err = parallel(len(all), func(i int) (err error) {
		all[i], err = s.arena(data, names[i/len(laws)], laws[i%len(laws)])
		return err
	})
	return all, data, err
}

func (s *Suite) arena(data *Data, model, law string) (*arena, error) {
	qos, err := defaultQoS(model)
	if err != nil {
		return nil, err
	}
	a := &arena{space: space{most: kairosMost[:], least: []int{1, 0, 0, 0}, budget: kairosBudget}, candidates: s.scale().candidates}
	for _, p := range DefaultPrices() {
		a.space.types = append(a.space.types, pool.InstanceType{Name: p.InstanceType, USDPerHour: p.USDPerHour})
	}
	arrivals, err := workload.ParseArrivals(law, openFile)
	if err != nil {
		return nil, err
	}
	sizes, err := workload.ParseSizes("kairos", nil)
	if err != nil {
		return nil, err
	}
	k := s.scale()
	a.measure, err = NewSetup(data, Setup{
		Model: dispatch.Model{Name: model, QoS: qos, Quantile: 0.99}, Types: a.space.types,
		Arrivals: arrivals, Sizes: sizes, Requests: k.requests, Seeds: seedsFrom(measureFrom, k.seeds),
	})
	if err != nil {
		return nil, err
	}
	a.choose = a.measure.with(k.chooseRequests, seedsFrom(chooseFrom, k.chooseSeeds))
	a.mixes = a.space.mixes(false)
	problem, err := a.measure.problem()
	if err != nil {
		return nil, err
	}
	problem.Base = 1
	for _, counts := range a.mixes {
		b, err := boundsOf(problem, counts)
		if err != nil {
			return nil, err
		}
		a.bounds = append(a.bounds, *b)
	}
	a.byUB = order(a.bounds, func(b *planner.Bounds) float64 { return b.Kairos })
	a.byBatch = order(a.bounds, func(b *planner.Bounds) float64 { return b.Batching })
	return a, nil
}

// order lists indices by falling value, equal ones as they stand.
func order[T any](all []T, value func(*T) float64) []int {
	by := make([]int, len(all))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(i, j int) int {
		switch a, b := value(&all[i]), value(&all[j]); {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	return by
}

// best are the first n mixes of an order; n ≤ 0 = all.
func (a *arena) best(by []int, n int) [][]int {
	if n <= 0 || n > len(by) {
		n = len(by)
	}
	mixes := make([][]int, n)
	for i := range mixes {
		mixes[i] = a.mixes[by[i]]
	}
	return mixes
}

// highest is the highest batching bound of the space, in requests/s.
func (a *arena) highest() float64 { return a.bounds[a.byBatch[0]].Batching }

// title names the arena in messages.
func (a *arena) title() string {
	return a.measure.Model.Name + ", " + a.measure.Arrivals.String()
}
