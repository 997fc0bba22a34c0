package ort

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func touch(t *testing.T, elements ...string) {
	t.Helper()
	path := filepath.Join(elements...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestResolve(t *testing.T) {
	root := t.TempDir()
	touch(t, root, "one.onnx")
	touch(t, root, "triton", "1", "model.onnx")
	touch(t, root, "triton", "9", "model.onnx")
	touch(t, root, "triton", "10", "model.onnx")
	touch(t, root, "triton", "99", "readme.txt")
	touch(t, root, "triton", "latest", "model.onnx")
	touch(t, root, "sin[g]le", "net.onnx")
	touch(t, root, "two", "a.onnx")
	touch(t, root, "two", "b.onnx")
	touch(t, root, "none", "a.txt")
	for _, tc := range []struct{ path, file, name, version, message string }{
		{"one.onnx", "one.onnx", "one", "1", ""},
		{"triton", "triton/10/model.onnx", "triton", "10", ""},
		{"triton/", "triton/10/model.onnx", "triton", "10", ""},
		{"sin[g]le", "sin[g]le/net.onnx", "sin[g]le", "1", ""},
		{"two", "", "", "", "holds 2 .onnx files"},
		{"none", "", "", "", "holds neither"},
		{"missing", "", "", "", "no such file"},
	} {
		src, err := resolve(filepath.Join(root, tc.path))
		if tc.message != "" {
			if err == nil || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("%s: %v, want %q", tc.path, err, tc.message)
			}
			continue
		}
		if want := (source{filepath.Join(root, tc.file), tc.name, tc.version}); err != nil || src != want {
			t.Errorf("%s: %v, %v, want %v", tc.path, src, err, want)
		}
	}
}

func TestFindLibrary(t *testing.T) {
	if _, err := os.Stat("/usr/lib/libonnxruntime.so"); err == nil {
		t.Skip("SKIPPED, NOT TESTED: this system has ONNX Runtime in its own directories")
	}
	root := t.TempDir()
	t.Setenv(LibraryEnv, "")
	t.Setenv("VIRTUAL_ENV", filepath.Join(root, "venv"))
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(root, "empty")+":"+filepath.Join(root, "libs"))
	touch(t, root, "venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0")
	find := func(named, want string) {
		t.Helper()
		got, err := FindLibrary(named)
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("FindLibrary(%q) = %q, %v, want %s", named, got, err, want)
		}
	}
	find("", "venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0")
	touch(t, root, "libs", "libonnxruntime.so.1.9.2")
	touch(t, root, "libs", "libonnxruntime.so.1.30.0")
	find("", "libs/libonnxruntime.so.1.30.0")
	touch(t, root, "libs", "libonnxruntime.so")
	find("", "libs/libonnxruntime.so")
	t.Setenv(LibraryEnv, filepath.Join(root, "libs", "libonnxruntime.so.1.9.2"))
	find("", "libs/libonnxruntime.so.1.9.2")
	find(filepath.Join(root, "libs", "libonnxruntime.so"), "libs/libonnxruntime.so")
	for _, bad := range []string{filepath.Join(root, "nowhere.so"), root} {
		if _, err := FindLibrary(bad); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "pip install onnxruntime") {
			t.Errorf("FindLibrary(%q): %v", bad, err)
		}
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for _, tc := range []struct {
		opt     Options
		message string
	}{
		{Options{Threads: -1}, "threads is -1"},
		{Options{MaxBatch: -1}, "max batch is -1"},
		{Options{Device: -1}, "GPU device is -1"},
		{Options{GPU: "yes"}, `gpu is "yes"`},
	} {
		if _, err := Load("x.onnx", tc.opt); err == nil || !strings.Contains(err.Error(), tc.message) {
			t.Errorf("%+v: %v", tc.opt, err)
		}
	}
}

func FuzzStrings(f *testing.F) {
	f.Add(encodeStrings([]string{"", "a", "bc"}), int64(3))
	f.Add([]byte{255, 255, 255, 255}, int64(1))
	f.Fuzz(func(t *testing.T, data []byte, n int64) {
		got, err := decodeStrings(data, n)
		// The oracle walks the bytes one element at a time and copies nothing.
		rest, count, ok := data, int64(0), n >= 0
		for ; ok && count < n; count++ {
			ok = len(rest) >= 4 && int64(binary.LittleEndian.Uint32(rest)) <= int64(len(rest)-4)
			if ok {
				size := 4 + int(binary.LittleEndian.Uint32(rest))
				ok = !slices.Contains(rest[4:size], 0)
				rest = rest[size:]
			}
		}
		ok = ok && len(rest) == 0
		if ok != (err == nil) {
			t.Fatalf("oracle says %v, decodeStrings says %v", ok, err)
		}
		if ok && !slices.Equal(encodeStrings(got), data) {
			t.Fatalf("%q does not round-trip", data)
		}
	})
}
