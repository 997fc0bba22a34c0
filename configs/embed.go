// Package configs holds the configurations that come with the router.
package configs

import _ "embed"

// Quickstart is quickstart.yaml: what the router runs without -config.
//
//go:embed quickstart.yaml
var Quickstart []byte

// KairosProfiles is profiles/kairos.csv: what bench runs on without -profiles
// and -samples.
//
//go:embed profiles/kairos.csv
var KairosProfiles []byte
