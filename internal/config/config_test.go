package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"motley/internal/pool"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestConfigsAreValid(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v: want at least three configurations", files, err)
	}
	for _, f := range files {
		if _, err := Load(f); err != nil {
			t.Error(err)
		}
	}
}

func load(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Load("../../configs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestQuickstart(t *testing.T) {
	c := load(t, "quickstart.yaml")
	m := c.Models[0]
	if len(c.Models) != 1 || m.Name != "fashion" || m.QoS.Target != 250*time.Millisecond || m.MaxQueue != 10000 || m.Batched != nil {
		t.Errorf("models: %+v", c.Models)
	}
	all := c.Expand(3)
	if len(all) != 3 || all[2].Name != "local-2" || all[2].Embedded == nil || !all[2].Embedded.Arena || all[2].Count != 1 {
		t.Errorf("on 3 CPUs the workers are %+v", all)
	}
	file, err := os.ReadFile("../../configs/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, Default()) {
		t.Error("the built-in configuration is not configs/quickstart.yaml")
	}
	built, err := Parse("built-in", Default())
	if err != nil {
		t.Fatal(err)
	}
	built.source, c.source = source{}, source{}
	if !reflect.DeepEqual(built, c) {
		t.Errorf("Parse gives %+v, Load %+v", built, c)
	}
}

func TestRemote(t *testing.T) {
	c := load(t, "remote.yaml")
	if len(c.Workers) != 2 || c.Workers[0].Remote.URL != "http://127.0.0.1:9001" || c.Workers[1].Remote.URL != "http://127.0.0.1:9002" {
		t.Errorf("workers: %+v", c.Workers)
	}
	if r := c.Workers[1].Remote; r.Timeout != 10*time.Second || r.Connections != 64 || r.Binary != "auto" || r.ProbeInterval != time.Second {
		t.Errorf("remote: %+v", r)
	}
}

func TestHetero(t *testing.T) {
	c := load(t, "hetero.yaml")
	counts, price := map[string]int{}, 0.0
	for _, w := range c.Expand(1) {
		counts[w.Type]++
		for _, ty := range c.InstanceTypes {
			if ty.Name == w.Type {
				price += ty.USDPerHour
			}
		}
		p, err := pool.NewProfile(c.Points(w.Emulated.ProfileModel, w.Type))
		if err != nil || !p.Known() {
			t.Fatalf("%s: profile %v", w.Name, err)
		}
		if lone := p.Bound(1, 0.99); lone > c.Models[0].QoS.Target {
			t.Errorf("%s takes %v for one item: over the QoS target", w.Type, lone)
		}
	}
	if want := (map[string]int{"g4dn.xlarge": 2, "r5n.large": 4, "c5n.2xlarge": 1}); !reflect.DeepEqual(counts, want) {
		t.Errorf("workers by type: %v, want %v", counts, want)
	}
	if want := 2*0.526 + 4*0.149 + 0.432; price < want-1e-9 || price > want+1e-9 {
		t.Errorf("the pool costs %v USD/h, want %v", price, want)
	}
	if c.Models[0].QoS.Target != 25*time.Millisecond {
		t.Errorf("QoS target %v", c.Models[0].QoS.Target)
	}
	sizes := map[string]int{}
	for _, r := range c.Rows {
		sizes[r.Model+" "+r.InstanceType]++
	}
	for k, n := range sizes {
		if n > 12 {
			t.Errorf("%s has %d batch sizes, want at most 12", k, n)
		}
	}
}

// Every file of testdata/broken must be refused with exactly the faults of its
// golden file, each on one line, and the lines in the order of the file.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d broken configurations, want at least 20 (%v)", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) {
			_, err := Load(f)
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("error %v, want an *Invalid", err)
			}
			got := strings.ReplaceAll(err.Error(), f, filepath.Base(f)) + "\n"
			if n := strings.Count(got, "\n"); n != len(invalid.Violations) {
				t.Errorf("%d lines for %d violations", n, len(invalid.Violations))
			}
			if !slices.IsSortedFunc(invalid.Violations, func(a, b Violation) int { return a.Line - b.Line }) {
				t.Error("not in the order of the file")
			}
			golden := strings.TrimSuffix(f, ".yaml") + ".want"
			if *rewrite {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	if _, err := Load("testdata/nowhere.yaml"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("error %v", err)
	}
}

// A value that is written counts even when it is zero; one that is not has
// its default.
func TestZeroIsNotAbsent(t *testing.T) {
	text := string(Default()) + "limits: {drain_timeout: 0s}\n"
	text = strings.Replace(text, "engine: builtin", "arena: false", 1)
	c, err := Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.DrainTimeout != 0 || c.Limits.ReadTimeout != time.Minute || c.Workers[0].Embedded.Arena || c.Workers[0].Embedded.Engine != "builtin" {
		t.Errorf("limits %+v, embedded %+v", c.Limits, c.Workers[0].Embedded)
	}
}

// The file of what is learned need not be there, and its path starts at the
// configuration.
func TestLearnedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "router.yaml")
	if err := os.WriteFile(path, append(Default(), "learned: {file: profiles.state}\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Learned{filepath.Join(dir, "profiles.state"), time.Minute}); c.Learned != want {
		t.Errorf("learned %+v, want %+v", c.Learned, want)
	}
	if c := load(t, "quickstart.yaml"); c.Learned.File != "" {
		t.Errorf("the quickstart keeps profiles in %s", c.Learned.File)
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]Size{"0": 0, "17": 17, "1KiB": 1024, "64 MiB": 64 << 20, "3GiB": 3 << 30} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
		if again, err := ParseSize(want.String()); err != nil || again != want {
			t.Errorf("%d prints as %q", want, want)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5MiB", "1MB", "9999999999GiB", "1 KiB KiB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q: read as %d", in, got)
		}
	}
}

// Whatever is read is valid, and whatever is refused says why, on one line
// per fault.
func FuzzParse(f *testing.F) {
	f.Add(Default())
	files, _ := filepath.Glob("testdata/broken/*.yaml")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz", data)
		var invalid *Invalid
		switch {
		case err == nil:
			if v := c.Validate(); len(v) > 0 {
				t.Errorf("read, but not valid: %v", v)
			}
			if n := len(c.Expand(4)); n < 1 || n > maxCount+4*len(c.Workers) {
				t.Errorf("%d workers", n)
			}
		case c != nil:
			t.Error("a configuration beside an error")
		case !errors.As(err, &invalid) || len(invalid.Violations) == 0:
			t.Errorf("refused without a reason: %v", err)
		case strings.Count(err.Error(), "\n") != len(invalid.Violations)-1:
			t.Errorf("%d violations on other than that many lines: %q", len(invalid.Violations), err)
		}
	})
}

// allFields returns the path of every field: models[].qos.target.
func allFields(t reflect.Type, prefix string) []string {
	var all []string
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("yaml")
		if tag == "" || tag == "-" {
			continue
		}
		path, ft := prefix+tag, t.Field(i).Type
		if ft.Kind() == reflect.Slice {
			path, ft = path+"[]", ft.Elem()
		}
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		all = append(all, path)
		if ft.Kind() == reflect.Struct {
			all = append(all, allFields(ft, path+".")...)
		}
	}
	return all
}

// docs/configuration.md has a table row for every field, and for nothing else.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.\\[\\]]+)` \\|").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	fields := allFields(reflect.TypeFor[Config](), "")
	for _, f := range fields {
		if !slices.Contains(documented, f) {
			t.Errorf("%s is not documented", f)
		}
	}
	for i, d := range documented {
		if !slices.Contains(fields, d) {
			t.Errorf("%s is documented but no field", d)
		}
		if slices.Contains(documented[:i], d) {
			t.Errorf("%s is documented twice", d)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `.*$").FindAllString(string(text), -1) {
		if cells := strings.Split(row, " | "); len(cells) < 4 || slices.Contains(cells, "") {
			t.Errorf("a row without type, default or meaning: %s", row)
		}
	}
}

func TestUnsetFieldsPointAtWhatIsAround(t *testing.T) {
	s := source{lines: map[string]int{"": 1, "workers": 4, "workers[0]": 5}}
	for field, want := range map[string]int{"workers[0].remote.url": 5, "workers[1].type": 4, "listen": 1} {
		if got := s.line(field); got != want {
			t.Errorf("line(%s) = %d, want %d", field, got, want)
		}
	}
}

func ExampleInvalid() {
	_, err := Parse("router.yaml", []byte("listen: here\npolici: p2c\nmodels: [{name: fashion}]\n"+
		"instance_types: [{name: cpu}]\nworkers:\n  - {name: a, type: cpu, remote: {url: \"ftp://x\"}}\n"))
	fmt.Println(err)
	// Output:
	// router.yaml:1: listen: "here": must be host:port, such as "127.0.0.1:8000" or ":8000"
	// router.yaml:2: polici: unknown field, did you mean policy?
	// router.yaml:6: workers[0].remote.url: "ftp://x": must be http or https
}
