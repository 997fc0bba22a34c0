package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const forOneWorker = `
models: [{name: fashion}, {name: m, early_exit: {mode: latency}}]
instance_types: [{name: t}]
workers:
  - {name: a, type: t, models: [fashion], embedded: {}}
  - {name: b, type: t, count: 2, remote: {url: "http://h"}}
`

func TestWith(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"router.yaml": forOneWorker, "m.onnx": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "router.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ text, want string }{ // want: the first fault; empty: none
		{"name: c\ntype: t\nremote:\n  url: http://h\n", ""},
		{`{"name":"c","type":"t","remote":{"url":"http://h"}}`, ""},
		{"{\n\t\"name\": \"c\",\n\t\"type\": \"t\",\n\t\"remote\": {\"url\": \"http://h\", \"model_names\": {\"m\": \"n\"}}\n}", ""},
		{`{"name":"c","type":"t","models":["m"],"embedded":{"path":"m.onnx"}}`, ""},
		{`{"name":"c","type":"t","models":["m"],"embedded":{"path":"n.onnx"}}`, `worker:1: embedded.path: "n.onnx": no such file or directory`},
		{"name: c\ntype: t\nremote:\n  url: ftp://h\n", `worker:4: remote.url: "ftp://h": must be http or https`},
		{"name: a\ntype: t\nremote: {url: http://h}", `worker:1: name: "a": is already the name of workers[0]`},
		{"name: b-1\ntype: t\nremote: {url: http://h}", `worker:1: name: "b-1": is already the name of a worker that the count of workers[1] makes`},
		{"name: c\ntype: t\ncount: 10000\nremote: {url: http://h}", `worker:3: count: 10000: makes more than 10000 workers in all`},
		{"name: c\ntpye: t\nremote: {url: http://h}", `worker:2: tpye: unknown field, did you mean type?`},
		{"- name: c", "worker: must be a mapping of a worker's fields"},
		{"", "worker: must be a mapping of a worker's fields"},
		{"name: [", "worker: neither YAML nor JSON: line 1: did not find expected node content"},
		{"{}", `worker:1: must have one of embedded, remote and emulated`},
	} {
		with, err := c.With("worker", []byte(tc.text))
		if tc.want == "" {
			if err != nil || len(with.Workers) != 3 || with.Workers[2].Name != "c" || with.Workers[2].Count != 1 {
				t.Errorf("%q: %v, %+v", tc.text, err, with)
			} else if e := with.Workers[2].Embedded; e != nil && e.Path != filepath.Join(dir, "m.onnx") {
				t.Errorf("%q: the path is %s", tc.text, e.Path)
			}
		} else if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), tc.want) {
			t.Errorf("%q:\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
	if len(c.Workers) != 2 || len(c.Validate()) > 0 {
		t.Errorf("the configuration itself has changed: %+v", c.Workers)
	}
	var bad *Invalid
	if _, err := c.WithWorker(Worker{Name: "c", Type: "gone", Count: 1, Concurrency: 1, Remote: c.Workers[1].Remote}); !errors.As(err, &bad) || bad.Violations[0].Field != "workers[2].type" {
		t.Errorf("a worker of a type that is not there: %v", err)
	}
}

// FuzzWith holds that whatever is sent is a worker that is valid, or an error.
func FuzzWith(f *testing.F) {
	for _, text := range []string{"name: c\ntype: t\nremote: {url: http://h}", `{"name":"c","count":0,"type":"t","emulated":{"profile_model":"m"}}`, "a: &x {b: *x}", "\t{}"} {
		f.Add(text)
	}
	c, err := Parse("test", []byte(forOneWorker))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		with, err := c.With("worker", []byte(text))
		if err == nil && (len(with.Workers) != 3 || len(with.Validate()) > 0) {
			t.Errorf("%q: %+v, %v", text, with.Workers, with.Validate())
		}
		if err != nil && err.Error() == "" {
			t.Errorf("%q: an error that says nothing", text)
		}
	})
}

func TestFiles(t *testing.T) {
	c := &Config{
		Profiles: []string{"p", "q"}, Learned: Learned{File: "written"}, Plan: Plan{Learned: "planned"},
		Models:  []Model{{EarlyExit: EarlyExit{Calibration: "c"}}, {}},
		Workers: []Worker{{Embedded: &Embedded{Path: "model.onnx"}}, {Hardware: &Hardware{CAFile: "ca"}}, {Hardware: &Hardware{CAFile: "ca"}}},
	}
	if got, want := c.Files(), []string{"c", "ca", "p", "q"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
