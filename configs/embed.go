// Package configs holds the configurations that come with the router.
package configs

import _ "embed"

// Quickstart is quickstart.yaml: what the router runs without -config.
//
//go:embed quickstart.yaml
var Quickstart []byte
