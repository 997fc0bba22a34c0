// Package nvml asks NVIDIA's driver on this host how its GPUs do, through the
// driver's own library. A build without cgo, a host without a driver, a driver
// that refuses, is too old or hangs, and a GPU that is gone are all answers,
// none of them a crash.
package nvml

import (
	"errors"
	"time"
)

// ErrUnavailable is that there is nothing to ask: no library, no driver, no
// permission, a build without cgo. The error that wraps it says which.
var ErrUnavailable = errors.New("NVML not available")

// DefaultLimit is how long the driver may take to answer for one GPU.
const DefaultLimit = 2 * time.Second

// Options say how to ask. The zero value asks this host's driver.
type Options struct {
	// Library is a path of libnvidia-ml.so.1; empty: where the loader finds it.
	Library string
	// Limit is how long the driver may take for one GPU, and for the list of
	// them; default DefaultLimit.
	Limit time.Duration
}
