// Package configs holds the configurations that come with the router.
package configs

import (
	"embed"
	"path"
	"strings"
)

// Quickstart is quickstart.yaml: what the router runs without -config.
//
//go:embed quickstart.yaml
var Quickstart []byte

// KairosProfiles is profiles/kairos.csv: what bench runs on without -profiles
// and -samples.
//
//go:embed profiles/kairos.csv
var KairosProfiles []byte

//go:embed prices/*.csv
var prices embed.FS

// Prices returns the on-demand prices of a cloud, prices/CLOUD.csv, by its name
// there; each file's head says where they are from, and how old.
func Prices(cloud string) ([]byte, bool) {
	data, err := prices.ReadFile(path.Join("prices", cloud+".csv"))
	return data, err == nil
}

// Clouds are the names that Prices knows, sorted.
func Clouds() []string {
	files, err := prices.ReadDir("prices")
	if err != nil {
		panic("BUG: no prices are built in: " + err.Error())
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".csv"))
	}
	return names
}
