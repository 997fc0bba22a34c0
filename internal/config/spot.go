package config

import "time"

// Spot says who tells that a worker's host is about to be taken away.
type Spot struct {
	Form     string        `yaml:"form"`     // whose metadata it is: one of spotForms
	URL      string        `yaml:"url"`      // where that is asked for the worker's host
	Resource string        `yaml:"resource"` // azure: the machine's name; empty = any that is told of
	Interval time.Duration `yaml:"interval"` // between two looks
}

var spotForms = []string{"aws", "gcp", "azure"}

func (s *Spot) setDefaults() { s.Interval = 5 * time.Second }

func (s *Spot) check(f *faults, at string) {
	oneOf(f, at+".form", s.Form, spotForms)
	checkURL(f, at+".url", s.URL)
	duration(f, at+".interval", s.Interval, 100*time.Millisecond)
	if s.Resource != "" && s.Form != "azure" {
		f.add(at+".resource", s.Resource, "is for the form azure")
	}
}
