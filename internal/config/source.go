package config

import "strings"

// source remembers where in the file the fields stand.
type source struct {
	name  string         // of the file, for messages
	dir   string         // where its relative paths start; empty: files are not looked at
	lines map[string]int // by field path, 1-based
}

// line returns the line of the field, or of the closest thing around it that
// is written out; 0 when there is no file.
func (s *source) line(field string) int {
	for {
		if line, ok := s.lines[field]; ok {
			return line
		}
		cut := strings.LastIndexAny(field, ".[")
		if cut < 0 {
			return s.lines[""]
		}
		field = field[:cut]
	}
}
