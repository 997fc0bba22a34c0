// Package archtest holds the house rules of docs/architecture.md: who may
// import whom, and what pure packages may not touch.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "motley/"

// allowed lists, for every package of the module, the packages of the module
// that it may import. A package that is not listed fails the test: add it
// here, and to docs/architecture.md, with its place in the house.
var allowed = map[string][]string{
	"cmd/router":                   {"internal/access", "internal/app", "internal/chart", "internal/config", "internal/gpu", "internal/handover", "internal/profiler"},
	"cmd/bench":                    {"internal/bench", "internal/config"},
	"configs":                      {},
	"internal/access":              {},
	"internal/archtest":            {},
	"internal/mono":                {},
	"internal/oip":                 {},
	"internal/oip/oiptest":         {},
	"internal/http1":               {"internal/oip"},
	"internal/reactor":             {},
	"internal/tracecontext":        {},
	"internal/pool":                {"internal/mono"},
	"internal/roofline":            {"internal/pool"},
	"internal/fluid":               {},
	"internal/match":               {},
	"internal/workload":            {"internal/mono"},
	"internal/dispatch":            {"internal/fluid", "internal/match", "internal/mono", "internal/pool"},
	"internal/triage":              {"internal/dispatch", "internal/gpu/device", "internal/gpu/health", "internal/mono", "internal/pool"},
	"internal/planner":             {"internal/fluid", "internal/pool"},
	"internal/sim":                 {"internal/dispatch", "internal/gpu/device", "internal/gpu/health", "internal/mono", "internal/planner", "internal/pool", "internal/triage", "internal/workload"},
	"internal/engine":              {"internal/oip"},
	"internal/engine/ort":          {"internal/engine", "internal/oip"},
	"internal/earlyexit":           {},
	"internal/earlyexit/baseline":  {"internal/earlyexit"},
	"internal/exitstream":          {"internal/earlyexit"},
	"internal/gate":                {"internal/earlyexit"},
	"internal/backend":             {"internal/earlyexit", "internal/engine", "internal/http1", "internal/oip", "internal/pool", "internal/reactor", "internal/tracecontext"},
	"internal/backend/backendtest": {"internal/backend", "internal/oip"},
	"internal/cascade":             {"internal/backend", "internal/earlyexit", "internal/gate", "internal/live", "internal/mono", "internal/oip", "internal/pool"},
	"internal/gpu":                 {"internal/gpu/device", "internal/gpu/health", "internal/gpu/host", "internal/gpu/nvml", "internal/gpu/remote"},
	"internal/gpu/device":          {},
	"internal/gpu/health":          {"internal/gpu/device", "internal/mono"},
	"internal/gpu/host":            {"internal/gpu/device"},
	"internal/gpu/nvml":            {"internal/gpu/device"},
	"internal/gpu/remote":          {"internal/gpu/device"},
	"internal/live":                {"internal/backend", "internal/dispatch", "internal/earlyexit", "internal/gate", "internal/gpu/device", "internal/gpu/health", "internal/mono", "internal/oip", "internal/pool", "internal/reactor", "internal/tracecontext", "internal/triage"},
	"internal/router":              {"internal/access", "internal/accesslog", "internal/backend", "internal/dispatch", "internal/earlyexit", "internal/gate", "internal/http1", "internal/live", "internal/oip", "internal/pool", "internal/reactor", "internal/tracecontext", "internal/tracing"},
	"internal/config":              {"configs", "internal/access", "internal/earlyexit", "internal/exitstream", "internal/oip", "internal/pool", "internal/roofline", "internal/workload"},
	"internal/accesslog":           {"internal/tracecontext"},
	"internal/tracing/tracingtest": {},
	"internal/tracing":             {"internal/accesslog", "internal/tracecontext"},
	"internal/app": {
		"internal/access", "internal/accesslog", "internal/admin", "internal/backend", "internal/cascade", "internal/config", "internal/dispatch", "internal/earlyexit", "internal/exitstream", "internal/gate", "internal/engine", "internal/engine/ort", "internal/gpu", "internal/gpu/health",
		"internal/live", "internal/mono", "internal/oip", "internal/planner", "internal/pool", "internal/profiler", "internal/reactor", "internal/roofline", "internal/router", "internal/sim", "internal/spot", "internal/statefile", "internal/tracing", "internal/workload",
	},
	"internal/chaos":     {},
	"internal/fleet":     {"internal/engine", "internal/oip", "internal/sim"},
	"internal/admin":     {},
	"internal/spot":      {},
	"internal/chart":     {},
	"internal/statefile": {},
	"internal/handover":  {},
	"internal/promtest":  {},
	"internal/tlstest":   {},
	"internal/profiler":  {"internal/backend", "internal/chart", "internal/load", "internal/oip", "internal/pool"},
	"internal/load/page": {"internal/load"},
	"internal/load":      {"internal/http1", "internal/mono", "internal/oip", "internal/workload"},
	"internal/bench": {
		"configs", "internal/chart", "internal/config", "internal/dispatch", "internal/earlyexit", "internal/earlyexit/baseline", "internal/engine", "internal/exitstream", "internal/fleet", "internal/load", "internal/load/page", "internal/oip", "internal/mono", "internal/planner", "internal/pool", "internal/sim", "internal/workload",
	},
}

// pure are the packages whose decisions must be repeatable.
var pure = []string{
	"internal/mono", "internal/oip", "internal/pool", "internal/roofline", "internal/fluid", "internal/match", "internal/planner",
	"internal/dispatch", "internal/earlyexit", "internal/earlyexit/baseline", "internal/exitstream", "internal/workload", "internal/sim",
	"internal/gpu/device", "internal/gpu/health", "internal/triage",
}

// impure are imports that a pure package may not have.
var impure = []string{
	"sync", "sync/atomic", "os", "net", "net/http", "log", "log/slog", "context", "runtime", "math/rand", "crypto/rand",
	"github.com/valyala/fasthttp",
}

// clocks are the functions of package time that read or await the clock.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

type source struct {
	pkg  string // below the module
	path string
	test bool
	file *ast.File
	fset *token.FileSet
}

func (s *source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", s.path, p.Line)
}

// sources parses every Go file of the module, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	const root = "../.."
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "tools") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{
			pkg: filepath.ToSlash(filepath.Dir(rel)), path: rel, test: strings.HasSuffix(path, "_test.go"), file: f, fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found %d Go files: looking in the wrong place", len(all))
	}
	return all
}

// TestImports holds the arrows of the picture.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		may, known := allowed[s.pkg]
		if !known {
			t.Errorf("%s: package %s has no place in the house; see allowed", s.path, s.pkg)
			continue
		}
		for _, i := range s.file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(may, own) {
				t.Errorf("%s: %s may not import %s", s.at(i), s.pkg, own)
			}
		}
	}
}

// TestPure holds what docs/architecture.md says of pure packages: no clock, no
// goroutine, no lock, no I/O, no order taken from a map.
func TestPure(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.pkg) {
			continue
		}
		for _, i := range s.file.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); slices.Contains(impure, path) {
				t.Errorf("%s: pure package %s imports %s", s.at(i), s.pkg, path)
			}
		}
		maps := mapNames(s.file)
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: pure package starts a goroutine", s.at(n))
			case *ast.ChanType:
				t.Errorf("%s: pure package uses a channel", s.at(n))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%s: pure package calls time.%s", s.at(n), n.Sel.Name)
				}
			case *ast.RangeStmt:
				if name := lastName(n.X); maps[name] {
					t.Errorf("%s: pure package ranges over map %s", s.at(n), name)
				}
			}
			return true
		})
	}
}

// mapNames collects the names of fields, variables and parameters that are
// declared as maps in the file.
func mapNames(f *ast.File) map[string]bool {
	names := map[string]bool{}
	note := func(idents []*ast.Ident, typ ast.Expr) {
		if _, ok := typ.(*ast.MapType); ok {
			for _, id := range idents {
				names[id.Name] = true
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			note(n.Names, n.Type)
		case *ast.ValueSpec:
			note(n.Names, n.Type)
		case *ast.AssignStmt:
			for i, r := range n.Rhs {
				if id, ok := n.Lhs[min(i, len(n.Lhs)-1)].(*ast.Ident); ok && isMap(r) {
					names[id.Name] = true
				}
			}
		}
		return true
	})
	return names
}

func isMap(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		_, ok := e.Type.(*ast.MapType)
		return ok
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name == "make" && len(e.Args) > 0 {
			_, ok := e.Args[0].(*ast.MapType)
			return ok
		}
	}
	return false
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// TestHabits holds habits that are easy to forget.
func TestHabits(t *testing.T) {
	for _, s := range sources(t) {
		if lines := s.fset.File(s.file.Pos()).LineCount(); lines > 600 {
			t.Errorf("%s: %d lines; a file has one subject", s.path, lines)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: init()", s.at(n))
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && s.test && x.Name == "time" && n.Sel.Name == "Sleep" && !usesSynctest(s.file) {
					t.Errorf("%s: a test sleeps", s.at(n))
				}
			}
			return true
		})
	}
}

// usesSynctest reports whether the file's time is a bubble's, where sleeping
// costs nothing and is exact.
func usesSynctest(f *ast.File) bool {
	for _, i := range f.Imports {
		if i.Path.Value == `"testing/synctest"` {
			return true
		}
	}
	return false
}
