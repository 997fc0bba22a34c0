package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// AccessLog says of which requests a line is written, and where to.
type AccessLog struct {
	Enabled bool    `yaml:"enabled"`
	File    string  `yaml:"file"`   // absolute after Load; "-" = standard error
	Format  string  `yaml:"format"` // json, text
	Sample  float64 `yaml:"sample"` // share of the requests that are neither slow nor errors
	Slow    string  `yaml:"slow"`   // what always has a line: see SlowFrom
	Errors  string  `yaml:"errors"` // whether those answered with 400 and above always have one: always, sample
	Client  bool    `yaml:"client"` // lines tell the client's address
}

func (a *AccessLog) setDefaults() {
	a.File, a.Format, a.Sample, a.Slow, a.Errors, a.Client = "-", "json", 0.01, "2x", "always", true
}

// logErrors are what AccessLog.Errors may be.
var logErrors = []string{"always", "sample"}

// SlowFrom reads Slow: "2x" is a factor of the model's QoS target, "500ms" a
// time, and "off" neither. A valid configuration's is ok.
func (a *AccessLog) SlowFrom() (factor float64, after time.Duration, ok bool) {
	if a.Slow == "off" {
		return 0, 0, true
	}
	if text, is := strings.CutSuffix(a.Slow, "x"); is {
		f, err := strconv.ParseFloat(text, 64)
		return f, 0, err == nil && f > 0 && f <= 1000
	}
	after, err := time.ParseDuration(a.Slow)
	return 0, after, err == nil && after > 0 && after <= maxDuration
}

func (a *AccessLog) check(f *faults) {
	oneOf(f, "log.access.format", a.Format, formats)
	oneOf(f, "log.access.errors", a.Errors, logErrors)
	share(f, "log.access.sample", a.Sample, 0, 1)
	if _, _, ok := a.SlowFrom(); !ok {
		f.add("log.access.slow", a.Slow, "must be a factor of the model's QoS target such as 2x, up to 1000x, a duration such as 500ms, up to %v, or off", maxDuration)
	}
	if a.File == "" {
		f.add("log.access.file", a.File, "must name a file, or - for standard error")
	}
}

// open makes the file's path independent of the configuration's directory, and checks that it
// can be there.
func (a *AccessLog) open(f *faults, from func(string) string) {
	written := a.File
	if written == "-" || written == "" {
		return
	}
	a.File = from(written)
	if dir, err := os.Stat(filepath.Dir(a.File)); err != nil || !dir.IsDir() {
		f.add("log.access.file", written, "must be in a directory that is there")
	} else if info, err := os.Stat(a.File); err == nil && info.IsDir() {
		f.add("log.access.file", written, "must not be a directory")
	}
}
