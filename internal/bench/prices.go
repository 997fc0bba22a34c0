package bench

import (
	"fmt"
	"slices"
	"strings"

	"motley/internal/config"
	"motley/internal/pool"
)

// DefaultPrices are those of KAIROS's artefact (instance.json), in its order.
func DefaultPrices() []pool.Price {
	return []pool.Price{
		{InstanceType: "g4dn.xlarge", USDPerHour: 0.526}, {InstanceType: "c5n.2xlarge", USDPerHour: 0.432},
		{InstanceType: "r5n.large", USDPerHour: 0.149}, {InstanceType: "t3.xlarge", USDPerHour: 0.1664},
	}
}

// pricesOf are those that -prices names, see config.ReadPrices, or DefaultPrices.
func pricesOf(name string) (prices []pool.Price, source string, err error) {
	if name == "" {
		return DefaultPrices(), "-prices: built-in prices", nil
	}
	prices, err = config.ReadPrices(name)
	return prices, "-prices " + name, err
}

// priced are the instance types of those names, in their order.
func priced(prices []pool.Price, source string, names []string) ([]pool.InstanceType, error) {
	types := make([]pool.InstanceType, 0, len(names))
	for _, n := range names {
		i := slices.IndexFunc(prices, func(p pool.Price) bool { return p.InstanceType == n })
		if i < 0 {
			return nil, fmt.Errorf("%s: no price of instance type %q; there are %s", source, n, priceNames(prices))
		}
		types = append(types, pool.InstanceType{Name: n, USDPerHour: prices[i].USDPerHour})
	}
	return types, nil
}

func priceNames(prices []pool.Price) string {
	var names []string
	for _, p := range prices {
		names = append(names, p.InstanceType)
	}
	return strings.Join(names, ", ")
}
