//go:build !cgo || !linux

package nvml

import (
	"context"
	"fmt"

	"motley/internal/gpu/device"
)

// Source asks the driver; in this build it cannot.
type Source struct{}

// New returns a source that answers that it is unavailable.
func New(Options) *Source { return &Source{} }

// Read fails with ErrUnavailable.
func (*Source) Read(context.Context) (device.Page, error) {
	return device.Page{}, fmt.Errorf("%w: this binary was built without cgo or not for Linux", ErrUnavailable)
}

// Hung is 0: nothing is ever asked.
func (*Source) Hung() int { return 0 }
