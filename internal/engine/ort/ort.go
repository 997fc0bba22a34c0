// Package ort runs ONNX models with ONNX Runtime, the second engine beside the
// built-in one: any operator, any opset, and a GPU where there is one.
//
// It needs cgo and ONNX Runtime's shared library, which is not part of this
// program. Without either, Load answers with an error that says what is missing
// and how to get it; the package itself builds both ways, and nothing here runs
// before the first Load. A model's Run may be called from several goroutines at
// once: one session is shared, and ONNX Runtime schedules the calls.
package ort

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// DefaultMaxBatch is the largest batch of a model with a dynamic first
// dimension where Options do not say.
const DefaultMaxBatch = 64

// ErrUnavailable is wrapped by every error that means "there is no usable ONNX
// Runtime here", as opposed to a model that cannot be loaded.
var ErrUnavailable = errors.New("ONNX Runtime is not available")

// Options say how a model is loaded. The zero value runs it on the CPU, with
// the library found by its usual names.
type Options struct {
	// Name is the model's name in OIP. Empty: the name of the directory or file.
	Name string
	// Library is the path of ONNX Runtime's shared library. Empty: the usual
	// places, see FindLibrary. One process uses one library: a second path is
	// refused while models loaded with the first are open.
	Library string
	// Threads is the number of threads that one Run may use; 0 is ONNX
	// Runtime's own choice, one per physical core.
	Threads int
	// DisableArena switches off the memory arena of the CPU: less memory is
	// held between runs, and every run allocates anew.
	DisableArena bool
	// GPU chooses the execution provider: "" or "off" is the CPU, "auto" is
	// CUDA where it works and the CPU otherwise (the model's properties say
	// why), "cuda" is CUDA or an error.
	GPU string
	// Device is the number of the GPU.
	Device int
	// MaxBatch bounds the first dimension of a model that batches; 0 is
	// DefaultMaxBatch. A model whose first dimension is fixed does not batch,
	// whatever stands here.
	MaxBatch int
}

func (o Options) validate() error {
	switch {
	case o.Threads < 0:
		return fmt.Errorf("threads is %d, must be 0 (automatic) or more", o.Threads)
	case o.MaxBatch < 0:
		return fmt.Errorf("max batch is %d, must be 0 (%d) or more", o.MaxBatch, DefaultMaxBatch)
	case o.Device < 0:
		return fmt.Errorf("GPU device is %d, must be 0 or more", o.Device)
	case !slices.Contains([]string{"", "off", "auto", "cuda"}, o.GPU):
		return fmt.Errorf("gpu is %q, must be one of off, auto, cuda", o.GPU)
	}
	return nil
}

// source is a model on disk.
type source struct {
	file    string // the .onnx file
	name    string // what the path itself suggests
	version string
}

// resolve finds the model that path means: a file, Triton's layout
// <model>/<version>/model.onnx, of which the highest version wins, or a
// directory that holds exactly one .onnx file.
func resolve(path string) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return source{}, err
	}
	path = filepath.Clean(path)
	if !info.IsDir() {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		return source{file: path, name: name, version: "1"}, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return source{}, err
	}
	name := filepath.Base(abs)
	versions, err := versionDirs(path)
	if err != nil {
		return source{}, err
	}
	for _, v := range versions {
		file := filepath.Join(path, v, "model.onnx")
		if _, err := os.Stat(file); err == nil {
			return source{file: file, name: name, version: v}, nil
		}
	}
	files, err := filepath.Glob(filepath.Join(escapeGlob(path), "*.onnx"))
	if err != nil {
		return source{}, err
	}
	switch len(files) {
	case 1:
		return source{file: files[0], name: name, version: "1"}, nil
	case 0:
		return source{}, fmt.Errorf("%s holds neither <version>/model.onnx nor a .onnx file", path)
	}
	return source{}, fmt.Errorf("%s holds %d .onnx files, name one of them", path, len(files))
}

// versionDirs lists the directories whose names are positive numbers, highest
// first.
func versionDirs(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 63); err == nil && n > 0 {
			versions = append(versions, e.Name())
		}
	}
	slices.SortFunc(versions, func(a, b string) int {
		x, _ := strconv.ParseUint(a, 10, 63)
		y, _ := strconv.ParseUint(b, 10, 63)
		return cmp.Or(cmp.Compare(y, x), strings.Compare(a, b))
	})
	return versions, nil
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(path string) string { return globEscaper.Replace(path) }
