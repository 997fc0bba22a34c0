package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxNodes bounds what a file may grow to by its aliases.
const maxNodes = 200_000

// maxList bounds every list: each entry is compared with the others.
const maxList = 10_000

// decoder reads a YAML tree into structs. Unlike yaml's own decoding it goes
// on after a fault, knows the path and line of every field, and fills in the
// defaults of each struct before reading it.
type decoder struct {
	faults
	nodes int
}

// decode reads data into c. ok is false when nothing could be read.
func decode(data []byte, c *Config) (list []Violation, ok bool) {
	d := &decoder{faults: faults{source: &c.source}}
	var root yaml.Node
	if err := parse(data, &root); err != nil {
		text := strings.TrimPrefix(err.Error(), "yaml: ")
		v := Violation{Problem: "not YAML: " + text}
		var line int
		if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
			_, text, _ = strings.Cut(text, ": ")
			v = Violation{Problem: "not YAML: " + text, Line: line}
		}
		return []Violation{v}, false
	}
	if len(root.Content) == 0 {
		return []Violation{{Problem: "empty: needs models, instance_types and workers"}}, false
	}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return []Violation{{Problem: "must be a mapping of fields, with models, instance_types and workers", Line: top.Line}}, false
	}
	d.value(top, "", reflect.ValueOf(c).Elem())
	return d.list, true
}

// parse reads the one document that data must hold.
func parse(data []byte, root *yaml.Node) (err error) {
	// The library panics on some malformed input instead of returning.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	in := yaml.NewDecoder(strings.NewReader(string(data)))
	if err := in.Decode(root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	var more yaml.Node
	if in.Decode(&more) == nil {
		return fmt.Errorf("line %d: more than one document", more.Line)
	}
	return nil
}

func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	for depth := 0; n.Kind == yaml.AliasNode && depth < 100; depth++ {
		n = n.Alias
	}
	if _, ok := d.source.lines[path]; !ok {
		d.source.lines[path] = n.Line
	}
	if d.nodes++; d.nodes >= maxNodes {
		if d.nodes == maxNodes {
			d.add(path, nil, "the aliases make this more than %d values", maxNodes)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, path, v)
	case reflect.Pointer:
		if isNull(n) {
			if v.Type().Elem().Kind() == reflect.Struct {
				// "embedded:" with nothing below means its defaults.
				n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
			} else {
				return
			}
		}
		p := reflect.New(v.Type().Elem())
		d.value(n, path, p.Elem())
		v.Set(p)
	case reflect.Slice:
		d.sequence(n, path, v)
	case reflect.Map:
		d.names(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *decoder) object(n *yaml.Node, path string, v reflect.Value) {
	if s, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		s.setDefaults()
	}
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "must be a mapping of fields")
		return
	}
	fields := fieldNames(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		field := join(path, key)
		switch at := slices.Index(fields, key); {
		case n.Content[i].Kind != yaml.ScalarNode || at < 0:
			d.source.lines[field] = n.Content[i].Line
			d.add(field, nil, "unknown field%s", nearest(key, fields))
		case seen[key]:
			d.list = append(d.list, Violation{Field: field, Problem: "given twice", Line: n.Content[i].Line})
		default:
			seen[key] = true
			d.source.lines[field] = n.Content[i].Line
			d.value(n.Content[i+1], field, fieldNamed(v, key))
		}
	}
}

func (d *decoder) sequence(n *yaml.Node, path string, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "must be a list")
		return
	}
	if len(n.Content) > maxList {
		d.add(path, nil, "has %d entries: at most %d", len(n.Content), maxList)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), list.Index(i))
	}
	v.Set(list)
}

// names reads a mapping from text to text.
func (d *decoder) names(n *yaml.Node, path string, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "must be a mapping of names")
		return
	}
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := reflect.New(v.Type().Key()).Elem()
		value := reflect.New(v.Type().Elem()).Elem()
		field := join(path, n.Content[i].Value)
		d.value(n.Content[i], field, key)
		if m.MapIndex(key).IsValid() {
			d.list = append(d.list, Violation{Field: field, Problem: "given twice", Line: n.Content[i].Line})
			continue
		}
		d.value(n.Content[i+1], field, value)
		m.SetMapIndex(key, value)
	}
	v.Set(m)
}

func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "must be a single value")
		return
	}
	if n.Tag == "!!null" {
		d.wrong(n, path, "must have a value; leave the field out for its default")
		return
	}
	if problem := setScalar(v, n); problem != "" {
		d.wrong(n, path, problem)
	}
}

// setScalar puts the text of n into v, or returns what it must be.
func setScalar(v reflect.Value, n *yaml.Node) (problem string) {
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		t, err := time.ParseDuration(n.Value)
		if err != nil {
			return "must be a duration with its unit, such as 100ms, 2s or 1m30s"
		}
		*p = t
	case *Size:
		size, err := ParseSize(n.Value)
		if err != nil {
			return "must be a size such as 4096, 512KiB, 64MiB or 1GiB"
		}
		*p = size
	case *string:
		*p = n.Value
	case *Secret:
		*p = Secret(n.Value)
	case *bool:
		if n.Tag != "!!bool" {
			return "must be true or false"
		}
		*p = strings.EqualFold(n.Value, "true")
	case *float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return "must be a number"
		}
		*p = f
	case *int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			return wholeNumber(err)
		}
		*p = i
	case *int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return wholeNumber(err)
		}
		*p = i
	case *uint64:
		i, err := strconv.ParseUint(n.Value, 10, 64)
		if err != nil {
			return "must be a whole number that is not negative"
		}
		*p = i
	default:
		panic(fmt.Sprintf("BUG: configuration field of type %T", p))
	}
	return ""
}

func wholeNumber(err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return "must be a whole number of 64 bits"
	}
	return "must be a whole number"
}

// wrong notes a value of the wrong form, at its own line.
func (d *decoder) wrong(n *yaml.Node, path, problem string) {
	v := Violation{Field: path, Problem: problem, Line: n.Line}
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		v.Value = show(n.Value)
	}
	d.list = append(d.list, v)
}

func join(path, key string) string {
	// A key is the file's own text: keep it on one line and of sane length.
	if q := strconv.Quote(key); len(q) != len(key)+2 || len(key) > 200 || key == "" {
		key = show(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldNames returns the names that the fields of t have in YAML, in order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func fieldNamed(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i)
		}
	}
	panic("BUG: no field " + name)
}
