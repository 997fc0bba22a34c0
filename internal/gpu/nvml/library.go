//go:build cgo && linux

package nvml

import (
	"fmt"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// library is the driver's library. Everything is asked through ask, which
// looks a function up before it is called for the first time.
type library struct {
	nvml.Interface
	// Only the list of GPUs, under its guard, touches these.
	open    bool
	set     nvml.EventSet
	watched map[string]bool // by UUID

	mu struct {
		sync.Mutex
		has map[string]bool
	}
}

func newLibrary(path string) *library {
	var opts []nvml.LibraryOption
	if path != "" {
		opts = append(opts, nvml.WithLibraryPath(path))
	}
	return &library{Interface: nvml.New(opts...)}
}

// start loads and initialises the library; again after a failure, as the
// driver may have been loaded since.
func (l *library) start() error {
	if l.open {
		return nil
	}
	if r := l.Init(); r != nvml.SUCCESS {
		return errorOf(r)
	}
	for _, f := range []string{"nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"} {
		if !l.has(f) {
			return fmt.Errorf("%w: the driver's library lacks %s", ErrUnavailable, f)
		}
	}
	l.open = true
	return nil
}

func errorOf(r nvml.Return) error { return fmt.Errorf("%w: %s", ErrUnavailable, explain(r)) }

// has reports whether the library has a function, in any version that go-nvml
// takes in place of the first.
func (l *library) has(function string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.mu.has[function]
	if ok {
		return known
	}
	for _, version := range []string{"", "_v2", "_v3"} {
		if l.Extensions().LookupSymbol(function+version) == nil {
			known = true
			break
		}
	}
	if l.mu.has == nil {
		l.mu.has = map[string]bool{}
	}
	l.mu.has[function] = known
	return known
}

// ask calls f if the library has the function that f calls.
func ask[T any](l *library, function string, f func() (T, nvml.Return)) (T, nvml.Return) {
	if !l.has(function) {
		var none T
		return none, missing
	}
	return f()
}

// version renders CUDA's 12040 as 12.4.
func version(v int) string {
	if v <= 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10)
}
