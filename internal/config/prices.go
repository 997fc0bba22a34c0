package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"motley/configs"
	"motley/internal/pool"
)

// ReadPrices reads on-demand prices: those that come with the program by the name of
// their cloud (aws, azure, gcp), of standard input where name is "-", else of the
// CSV file of that name. See pool.ReadPrices for its form.
func ReadPrices(name string) ([]pool.Price, error) {
	if data, ok := configs.Prices(name); ok {
		return pool.ReadPrices(name, bytes.NewReader(data))
	}
	if name == "-" {
		return pool.ReadPrices("standard input", os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read prices: %w (built in are %s)", err, strings.Join(configs.Clouds(), ", "))
	}
	defer f.Close()
	return pool.ReadPrices(name, f)
}

// Priced returns a copy of c whose instance types have these prices; those that
// have none keep the configuration's. It is an error when none has.
func (c *Config) Priced(prices []pool.Price) (*Config, error) {
	by := map[string]float64{}
	for _, p := range prices {
		by[p.InstanceType] = p.USDPerHour
	}
	own := *c
	own.InstanceTypes = nil
	var names []string
	found := false
	for _, t := range c.InstanceTypes {
		if usd, ok := by[t.Name]; ok {
			t.USDPerHour, found = usd, true
		}
		names = append(names, t.Name)
		own.InstanceTypes = append(own.InstanceTypes, t)
	}
	if !found {
		return nil, fmt.Errorf("there is no price of any instance type of the configuration (%s)", strings.Join(names, ", "))
	}
	return &own, nil
}
