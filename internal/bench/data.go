package bench

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"motley/configs"
	"motley/internal/pool"
	"motley/internal/sim"
)

// Data are measured latencies: raw samples, or rows of mean and 99th
// percentile.
type Data struct {
	Source string // for messages
	cells  []sim.Cell
	rows   []pool.Row
}

// embedded names the profile table that comes with the program.
const embedded = "configs/profiles/kairos.csv (embedded)"

// LoadData reads samples if a file of them is named, else a profile table,
// else the embedded one.
func LoadData(profiles, samples string) (*Data, error) {
	switch {
	case samples != "" && profiles != "":
		return nil, usagef("-samples, -profiles: give one of them: the truth is drawn from either")
	case samples != "":
		return loadSamples(samples)
	case profiles == "":
		return readProfiles(embedded, bytes.NewReader(configs.KairosProfiles))
	}
	var d *Data
	err := withFile(profiles, func(r io.Reader) (err error) {
		d, err = readProfiles(profiles, r)
		return err
	})
	return d, err
}

func loadSamples(name string) (*Data, error) {
	d := &Data{Source: name}
	err := withFile(name, func(r io.Reader) (err error) {
		d.cells, err = sim.ReadSamples(name, r)
		return err
	})
	if err == nil && len(d.cells) == 0 {
		err = fmt.Errorf("cannot read samples: %s: no samples in it", name)
	}
	return d, err
}

func readProfiles(name string, r io.Reader) (*Data, error) {
	rows, err := pool.ReadProfiles(r)
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("cannot read profiles: no rows in it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Data{Source: name, rows: rows}, nil
}

// dilate makes every latency factor times as long: a world in which time runs
// slower, and all rates are so much lower.
func (d *Data) dilate(factor float64) error {
	if err := checkRange("-dilate", factor, 1e-3, 1e3); err != nil || factor == 1 {
		return err
	}
	for i := range d.cells {
		for k, took := range d.cells[i].Took {
			d.cells[i].Took[k] = dilated(took, factor)
		}
	}
	for i := range d.rows {
		r := &d.rows[i]
		r.Mean, r.P99 = dilated(r.Mean, factor), dilated(r.P99, factor)
	}
	return nil
}

func dilated(d time.Duration, factor float64) time.Duration {
	return time.Duration(math.Round(float64(d) * factor))
}

// each calls f with the model and type of everything measured.
func (d *Data) each(f func(model, instanceType string)) {
	for i := range d.cells {
		f(d.cells[i].Model, d.cells[i].InstanceType)
	}
	for i := range d.rows {
		f(d.rows[i].Model, d.rows[i].InstanceType)
	}
}

// Models are the names of the models that were measured, sorted.
func (d *Data) Models() []string {
	var names []string
	d.each(func(model, _ string) { names = append(names, model) })
	slices.Sort(names)
	return slices.Compact(names)
}

// Types are the instance types that the model was measured on, sorted.
func (d *Data) Types(model string) []string {
	var names []string
	d.each(func(m, t string) {
		if m == model {
			names = append(names, t)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// pricedTypes are the types that the model was measured on and that have a
// price, in the order of the prices.
func (d *Data) pricedTypes(model string, prices []pool.Price) ([]string, error) {
	measured := d.Types(model)
	if len(measured) == 0 {
		return nil, d.unmeasured(model)
	}
	var names []string
	for _, p := range prices {
		if slices.Contains(measured, p.InstanceType) {
			names = append(names, p.InstanceType)
		}
	}
	if names == nil {
		return nil, fmt.Errorf("%s: model %s was measured on %s, of which none has a price; prices there are of %s",
			d.Source, model, strings.Join(measured, ", "), priceNames(prices))
	}
	return names, nil
}

func (d *Data) unmeasured(model string) error {
	return fmt.Errorf("%s: model %q was not measured; there are %s", d.Source, model, strings.Join(d.Models(), ", "))
}

// Truth is how long the instance type takes for the model.
func (d *Data) Truth(model, instanceType string) (*sim.Truth, error) {
	types := d.Types(model)
	if len(types) == 0 {
		return nil, d.unmeasured(model)
	}
	if !slices.Contains(types, instanceType) {
		return nil, fmt.Errorf("%s: model %s was not measured on instance type %q; there are %s", d.Source, model, instanceType, strings.Join(types, ", "))
	}
	if d.cells != nil {
		return sim.NewTruth(d.cells, model, instanceType)
	}
	return sim.TruthFromRows(d.rows, model, instanceType)
}
