package config

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Reload says when the configuration is read again, beside when the router is told to.
type Reload struct {
	Watch    bool          `yaml:"watch"`    // when the file, or one that it names, has changed
	Interval time.Duration `yaml:"interval"` // between two looks
}

func (r *Reload) setDefaults() { r.Interval = time.Second }

func (r *Reload) check(f *faults) {
	duration(f, "reload.interval", r.Interval, 10*time.Millisecond)
}

// Files are those that c names and that are read with it: profiles, recorded exits,
// certificates and keys.
func (c *Config) Files() []string {
	files := slices.Clone(c.Profiles)
	files = namedFiles(reflect.ValueOf(c).Elem(), files)
	slices.Sort(files)
	return slices.DeleteFunc(slices.Compact(files), func(f string) bool { return f == "" })
}

// namedFiles appends the values of fields that name files to be read: calibration, and
// those whose names end in _file.
func namedFiles(v reflect.Value, files []string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return namedFiles(v.Elem(), files)
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.Pointer {
			for i := range v.Len() {
				files = namedFiles(v.Index(i), files)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch name, f := v.Type().Field(i).Tag.Get("yaml"), v.Field(i); {
			case name == "" || name == "-":
			case f.Kind() == reflect.String && (name == "calibration" || strings.HasSuffix(name, "_file")):
				files = append(files, f.String())
			default:
				files = namedFiles(f, files)
			}
		}
	}
	return files
}
