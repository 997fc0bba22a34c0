package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Violation is one fault of a configuration.
type Violation struct {
	Field   string // its path: workers[2].remote.url; empty = the file as a whole
	Value   string // as written, quoted where it is text; empty when there is none
	Problem string // what would be right: "must be http or https"
	Line    int    // in the file, from 1; 0 = unknown
}

// String is the fault on one line: field, value, what would be right.
func (v Violation) String() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{v.Field, v.Value, v.Problem} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// covers reports whether field is v's or lies within it.
func (v Violation) covers(field string) bool {
	rest, ok := strings.CutPrefix(field, v.Field)
	return ok && v.Field != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Invalid is every fault of a configuration, by position in the file.
type Invalid struct {
	Name       string // of the file
	Violations []Violation
}

// Error has one line per violation: name:line: field: value: problem.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		at := e.Name
		if v.Line > 0 {
			at += ":" + strconv.Itoa(v.Line)
		}
		lines[i] = at + ": " + v.String()
	}
	return strings.Join(lines, "\n")
}

func sortViolations(list []Violation) {
	slices.SortStableFunc(list, func(a, b Violation) int { return a.Line - b.Line })
}

// faults collects violations.
type faults struct {
	source *source
	list   []Violation
}

// add notes a violation; value nil means that there is none to show.
func (f *faults) add(field string, value any, problem string, args ...any) {
	f.list = append(f.list, Violation{
		Field: field, Value: show(value), Problem: fmt.Sprintf(problem, args...), Line: f.source.line(field),
	})
}

// show prints a value on one line and of a bounded length.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		const most = 200
		if len(v) > most {
			return strconv.Quote(strings.ToValidUTF8(v[:most], "")) + "…"
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(value)
}

// suggestion returns ", did you mean …?" when one of the names is a slip away
// from got, and otherwise nothing.
func suggestion(got string, names []string) string {
	best, distance := "", max(1, min(len(got), 12)/3)+1
	const most = 100 // of a long list the rest is not worth the time
	for _, n := range names[:min(len(names), most)] {
		if d := edits(strings.ToLower(got), strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// nearest is suggestion, with the known names where none is near.
func nearest(got string, names []string) string {
	if s := suggestion(got, names); s != "" {
		return s
	}
	if len(names) == 0 {
		return ""
	}
	const most = 20
	if len(names) > most {
		return "; known: " + strings.Join(names[:most], ", ") + ", …"
	}
	return "; known: " + strings.Join(names, ", ")
}

// edits is the number of insertions, deletions, replacements and swaps of
// neighbours between a and b.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last, now [65]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}
