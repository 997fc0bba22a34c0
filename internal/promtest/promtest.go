// Package promtest holds metrics pages of tests against Prometheus's own rules.
package promtest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// Check fails the test where a page breaks the rules of promlint or, where that is
// installed, of `promtool check metrics`, which also reads the page as a server
// would. Metrics whose names begin with excused may be named against the rules:
// others gave them their names.
func Check(tb testing.TB, page, excused string) {
	tb.Helper()
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		tb.Errorf("the page cannot be read: %v", err)
	}
	for _, p := range problems {
		if excused == "" || !strings.HasPrefix(p.Metric, excused) {
			tb.Errorf("lint: %s: %s", p.Metric, p.Text)
		}
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		tb.Logf("NOT CHECKED by promtool: %v", err)
		return
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		if excused == "" || !strings.HasPrefix(line, excused) {
			tb.Errorf("promtool check metrics: %v: %s", err, strings.TrimSpace(line))
		}
	}
}
