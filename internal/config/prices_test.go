package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/configs"
	"motley/internal/pool"
)

// Every list that comes with the program can be read, and its figures are
// plausible: none is free, and what has more of the same accelerator costs more.
func TestBuiltInPrices(t *testing.T) {
	if got := strings.Join(configs.Clouds(), " "); got != "aws azure gcp" {
		t.Errorf("built in are %s", got)
	}
	for _, cloud := range configs.Clouds() {
		prices, err := ReadPrices(cloud)
		if err != nil {
			t.Fatal(err)
		}
		if len(prices) < 20 {
			t.Errorf("%s: only %d prices", cloud, len(prices))
		}
		for _, p := range prices {
			if p.USDPerHour < 0.01 || p.USDPerHour > 200 || !goodName(p.InstanceType) {
				t.Errorf("%s: %+v", cloud, p)
			}
		}
		data, _ := configs.Prices(cloud)
		if !strings.HasPrefix(string(data), "# ") {
			t.Errorf("%s: it does not say where it is from", cloud)
		}
	}
}

func TestReadPricesFrom(t *testing.T) {
	const text = "instance_type,usd_per_h\na,2\n"
	path := filepath.Join(t.TempDir(), "p.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	os.Stdin = file
	for _, name := range []string{path, "-"} {
		if got, err := ReadPrices(name); err != nil || len(got) != 1 || got[0] != (pool.Price{InstanceType: "a", USDPerHour: 2}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := ReadPrices("-"); err == nil || !strings.Contains(err.Error(), "standard input: line 1") {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := ReadPrices("nowhere"); err == nil || !strings.Contains(err.Error(), "built in are aws, azure, gcp") {
		t.Errorf("of no file: %v", err)
	}
}

func TestPriced(t *testing.T) {
	c := &Config{InstanceTypes: []InstanceType{{Name: "a", USDPerHour: 1}, {Name: "b", USDPerHour: 3}}}
	got, err := c.Priced([]pool.Price{{InstanceType: "x", USDPerHour: 9}, {InstanceType: "a", USDPerHour: 2}})
	if err != nil || got.InstanceTypes[0].USDPerHour != 2 || got.InstanceTypes[1].USDPerHour != 3 || c.InstanceTypes[0].USDPerHour != 1 {
		t.Errorf("%+v, %v; was %+v", got, err, c.InstanceTypes)
	}
	if _, err := c.Priced([]pool.Price{{InstanceType: "x"}}); err == nil || !strings.Contains(err.Error(), "(a, b)") {
		t.Errorf("of other types: %v", err)
	}
}
