package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// With returns a copy of c that has one more worker, the last: data in YAML or JSON, in the
// form of an entry of workers. It is held to what an entry of the file is held to.
// Faults come as one *Invalid, whose fields are those of the worker; name stands for
// data in it.
func (c *Config) With(name string, data []byte) (*Config, error) {
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("{")) && json.Valid(trimmed) {
		var flat bytes.Buffer // YAML has it that tabs do not indent
		if json.Compact(&flat, trimmed) == nil {
			data = flat.Bytes()
		}
	}
	var root yaml.Node
	if err := parse(data, &root); err != nil {
		return nil, &Invalid{Name: name, Violations: []Violation{{Problem: "neither YAML nor JSON: " + strings.TrimPrefix(err.Error(), "yaml: ")}}}
	}
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return nil, &Invalid{Name: name, Violations: []Violation{{Problem: "must be a mapping of a worker's fields"}}}
	}
	src := source{name: name, dir: c.source.dir, lines: map[string]int{}}
	d := &decoder{faults: faults{source: &src}}
	var w Worker
	d.value(root.Content[0], "", reflect.ValueOf(&w).Elem())
	list := d.list

	with := c.with(w)
	at := fmt.Sprintf("workers[%d]", len(c.Workers))
	f := &faults{source: &with.source}
	if c.source.dir != "" {
		with.Workers[len(c.Workers)].open(f, at, src.from)
	}
	for _, v := range append(f.list, with.Validate()...) {
		if rest, ok := strings.CutPrefix(v.Field, at); ok {
			v.Field = strings.TrimPrefix(rest, ".")
		}
		v.Line = src.line(v.Field)
		if !slices.ContainsFunc(list, func(o Violation) bool { return o.covers(v.Field) }) {
			list = append(list, v)
		}
	}
	if len(list) > 0 {
		sortViolations(list)
		return nil, &Invalid{Name: name, Violations: list}
	}
	return with, nil
}

// WithWorker returns a copy of c that has one more worker, the last, which is not changed
// and whose paths are taken as they are; or why it does not fit.
func (c *Config) WithWorker(w Worker) (*Config, error) {
	with := c.with(w)
	if list := with.Validate(); len(list) > 0 {
		return nil, &Invalid{Name: "worker " + w.Name, Violations: list}
	}
	return with, nil
}

func (c *Config) with(w Worker) *Config {
	with := *c
	with.Workers = append(slices.Clone(c.Workers), w)
	return &with
}
