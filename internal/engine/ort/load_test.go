//go:build cgo

package ort

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/oip"
)

func TestLoadRefusesModels(t *testing.T) {
	lib := library(t)
	tensorsOf := func(elem uint64, dims []int64) graph {
		g := identity(elem)
		g.inputs[0].dims, g.outputs[0].dims = dims, dims
		return g
	}
	for _, tc := range []struct {
		name    string
		g       graph
		message string
	}{
		{"8-bit floats", tensorsOf(elemFloat8, []int64{-1}), `input "x" has element type`},
		{"unknown rank", tensorsOf(elemFloat, nil), `input "x" has no dimensions`},
		{"scalar", tensorsOf(elemFloat, []int64{}), `input "x" has no dimensions`},
		{"half floats of unknown size", tensorsOf(elemHalf, []int64{-1, -1}), `output "y" is FP16 with a variable dimension`},
		{"no operator", graph{
			nodes:   []node{{op: "Frobnicate", in: []string{"x"}, out: []string{"y"}}},
			inputs:  []value{{"x", elemFloat, []int64{-1}}},
			outputs: []value{{"y", elemFloat, []int64{-1}}},
		}, `Frobnicate`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(tc.g.write(t, "m.onnx"), Options{Library: lib})
			if err == nil || !strings.Contains(err.Error(), tc.message) || errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want %q", err, tc.message)
			}
		})
	}
}

func TestLoadTritonLayout(t *testing.T) {
	lib := library(t)
	dir := filepath.Join(t.TempDir(), "calc")
	for version, g := range map[string]graph{"2": identity(elemFloat, -1), "10": arithmetic(), "11": {}} {
		if err := os.MkdirAll(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		if version == "11" {
			continue // no model in it: not a version
		}
		if err := os.WriteFile(filepath.Join(dir, version, "model.onnx"), g.encode(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(dir, Options{Library: lib})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	meta := m.Metadata()
	if meta.Name != "calc" || len(meta.Versions) != 1 || meta.Versions[0] != "10" || len(meta.Inputs) != 2 || meta.Platform != "onnx_onnxv1" {
		t.Errorf("metadata %+v", meta)
	}
	if p := meta.Properties["execution_provider"]; p != "cpu" {
		t.Errorf("execution provider %q", p)
	}
}

// The runtime goes with the last model and comes back with the next.
func TestRuntimeLivesWhileModelsAreOpen(t *testing.T) {
	lib := library(t)
	path := identity(elemFloat, -1).write(t, "m.onnx")
	for range 2 {
		a, err := Load(path, Options{Library: lib, DisableArena: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Load(path, Options{Library: lib})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := b.Run(t.Context(), []oip.Tensor{{Name: "x", Datatype: oip.FP32, Shape: []int64{1}, Data: floats(7)}}, nil)
		if err != nil || string(out[0].Data) != string(floats(7)) {
			t.Errorf("after closing another model: %v, %v", out, err)
		}
		other := filepath.Join(t.TempDir(), "libonnxruntime.so")
		if err := os.Symlink(lib, other); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, Options{Library: other}); err == nil || !strings.Contains(err.Error(), "is loaded already") {
			t.Errorf("a second library: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGPUFallsBackOnlyWhenAskedTo(t *testing.T) {
	lib := library(t)
	path := identity(elemFloat, -1).write(t, "m.onnx")
	m, err := Load(path, Options{Library: lib, GPU: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p := m.Metadata().Properties
	if strings.HasPrefix(p["execution_provider"], "cuda") {
		t.Skip("SKIPPED, NOT TESTED: CUDA works here, so there is nothing to fall back from")
	}
	if p["execution_provider"] != "cpu" || !strings.Contains(p["note"], "fell back to the CPU") {
		t.Errorf("properties %v", p)
	}
	if _, err := Load(path, Options{Library: lib, GPU: "cuda"}); err == nil || !strings.Contains(err.Error(), "no CUDA execution provider") {
		t.Errorf("gpu cuda: %v", err)
	}
}

func TestLoadWithoutRuntime(t *testing.T) {
	path := identity(elemFloat, -1).write(t, "m.onnx")
	noLibrary := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if _, err := Load(path, Options{Library: noLibrary}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "pip install onnxruntime") {
		t.Errorf("no file: %v", err)
	}
	f, err := os.Create(noLibrary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "not a library"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Options{Library: noLibrary}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), noLibrary) {
		t.Errorf("no library: %v", err)
	}
}
