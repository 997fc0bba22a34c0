//go:build cgo

package ort

import (
	"fmt"
	"path/filepath"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// minVersion is the oldest ONNX Runtime whose C API the binding can speak: its
// header asks for API 24.
const minVersion = "1.24"

// environment is ONNX Runtime in this process: there can be one at a time.
// It lives from the first open model to the last.
var environment struct {
	sync.Mutex
	users   int
	library string // absolute, as loaded
}

// acquire makes sure that the runtime is loaded, and holds it until release.
func acquire(library string) error {
	abs, err := filepath.Abs(library)
	if err != nil {
		return err
	}
	environment.Lock()
	defer environment.Unlock()
	if environment.users > 0 {
		if abs != environment.library {
			return fmt.Errorf("%s is loaded already: one process uses one ONNX Runtime, not %s too", environment.library, abs)
		}
		environment.users++
		return nil
	}
	onnx.SetSharedLibraryPath(abs)
	// Warnings go to standard error, unstructured: keep them out of the log.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelError()); err != nil {
		return fmt.Errorf("%w: cannot use %s (version %s or newer is needed, for %s): %w; %s",
			ErrUnavailable, abs, minVersion, platform(), err, howToGet)
	}
	environment.users, environment.library = 1, abs
	return nil
}

// release gives up one hold of acquire.
func release() error {
	environment.Lock()
	defer environment.Unlock()
	if environment.users == 0 {
		panic("BUG: ONNX Runtime released more often than acquired")
	}
	environment.users--
	if environment.users > 0 {
		return nil
	}
	if err := onnx.DestroyEnvironment(); err != nil {
		return fmt.Errorf("cannot unload %s: %w", environment.library, err)
	}
	return nil
}
