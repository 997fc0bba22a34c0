//go:build !cgo

package ort

import (
	"fmt"

	"motley/internal/engine"
)

// Load refuses: this program was built without cgo, which the binding needs.
// The error wraps ErrUnavailable.
func Load(path string, opt Options) (engine.Model, error) {
	if err := opt.validate(); err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", path, err)
	}
	return nil, fmt.Errorf("cannot load %s: %w: this program was built without cgo; build it with CGO_ENABLED=1 and a C compiler (gcc or clang)", path, ErrUnavailable)
}
