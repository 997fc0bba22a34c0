package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LibraryEnv is the environment variable that names the shared library.
const LibraryEnv = "ONNXRUNTIME_LIB"

// howToGet ends every message about a missing library.
const howToGet = "get it with `pip install onnxruntime` (the file is onnxruntime/capi/libonnxruntime.so.* in site-packages; " +
	"onnxruntime-gpu for CUDA) or from github.com/microsoft/onnxruntime/releases, " +
	"and name it in the configuration or in " + LibraryEnv

// FindLibrary returns the path of ONNX Runtime's shared library: named if it is
// not empty, else what the environment variable ONNXRUNTIME_LIB names, else the
// newest of the usual names in LD_LIBRARY_PATH, beside this program, in an
// active Python environment or .venv, and in the system's directories. A path
// that was named and is not there is an error; it is not searched for
// elsewhere. The error wraps ErrUnavailable.
func FindLibrary(named string) (string, error) {
	for _, n := range []struct{ path, by string }{{named, "the configuration"}, {os.Getenv(LibraryEnv), LibraryEnv}} {
		if n.path == "" {
			continue
		}
		if info, err := os.Stat(n.path); err != nil {
			return "", fmt.Errorf("%w: the library named by %s cannot be used: %w; %s", ErrUnavailable, n.by, err, howToGet)
		} else if info.IsDir() {
			return "", fmt.Errorf("%w: %s, named by %s, is a directory, not the shared library; %s", ErrUnavailable, n.path, n.by, howToGet)
		}
		return n.path, nil
	}
	dirs := libraryDirs()
	for _, dir := range dirs {
		if path := newestIn(dir); path != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no %s in %s; %s", ErrUnavailable, libraryGlobs()[0], strings.Join(dirs, ", "), howToGet)
}

// libraryDirs lists where to look, nearest first. Elements may hold wildcards.
func libraryDirs() []string {
	var dirs []string
	for _, d := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		if d != "" {
			dirs = append(dirs, escapeGlob(d))
		}
	}
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, escapeGlob(filepath.Dir(exe)))
	}
	const wheel = "lib/python3*/site-packages/onnxruntime/capi"
	if venv := os.Getenv("VIRTUAL_ENV"); venv != "" {
		dirs = append(dirs, filepath.Join(escapeGlob(venv), wheel))
	}
	dirs = append(dirs, filepath.Join(".venv", wheel))
	multiarch := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	if runtime.GOOS == "linux" && multiarch != "" {
		dirs = append(dirs, "/usr/lib/"+multiarch)
	}
	return append(dirs, "/usr/local/lib", "/usr/lib", "/opt/onnxruntime/lib", "/opt/homebrew/lib")
}

// libraryGlobs are the names of the library on this system, plain one first.
func libraryGlobs() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	case "windows":
		return []string{"onnxruntime.dll"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.*"}
}

// newestIn returns the library in dir: the plain name, which a system's package
// keeps pointing at its choice, else the highest version.
func newestIn(dir string) string {
	for _, g := range libraryGlobs() {
		// The only error is a bad pattern, and these are constants and escaped.
		found, _ := filepath.Glob(filepath.Join(dir, g))
		if len(found) > 0 {
			return slices.MaxFunc(found, compareVersions)
		}
	}
	return ""
}

// compareVersions orders names by the numbers in them, so that 1.9 comes before
// 1.10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
