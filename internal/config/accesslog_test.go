package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAccessLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "motley.yaml")
	load := func(log string) (*AccessLog, error) {
		t.Helper()
		text := strings.Replace(string(Default()), "models:", log+"\nmodels:", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file)
		if err != nil {
			return nil, err
		}
		return &c.Log.Access, nil
	}
	for _, text := range []string{"", "log: {}", "log: {access: {}}"} {
		a, err := load(text)
		if want := (AccessLog{false, "-", "json", .01, "2x", "always", true}); err != nil || *a != want {
			t.Errorf("%q: %+v, %v; want %+v", text, a, err, want)
		}
	}
	a, err := load("log: {access: {enabled: true, file: access.log, format: text, sample: 0, slow: 250ms, errors: sample, client: false}}")
	if want := (AccessLog{true, filepath.Join(dir, "access.log"), "text", 0, "250ms", "sample", false}); err != nil || *a != want {
		t.Errorf("%+v, %v; want %+v", a, err, want)
	}
	for text, field := range map[string]string{
		"format: xml": "log.access.format", "errors: never": "log.access.errors", "sample: 1.01": "log.access.sample",
		"sample: -0.1": "log.access.sample", "slow: x": "log.access.slow", "slow: 0x": "log.access.slow", "slow: -2x": "log.access.slow",
		"slow: NaNx": "log.access.slow", "slow: 1001x": "log.access.slow", "slow: 10": "log.access.slow", "slow: 0s": "log.access.slow",
		"slow: 25h": "log.access.slow", `file: ""`: "log.access.file", "file: nowhere/access.log": "log.access.file", "file: .": "log.access.file",
		"files: x": "log.access.files", "enabled: 1": "log.access.enabled",
	} {
		if _, err := load("log: {access: {" + text + "}}"); err == nil || !strings.Contains(err.Error(), field+" ") && !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSlowFrom(t *testing.T) {
	for text, want := range map[string]struct {
		factor float64
		after  time.Duration
	}{"off": {}, "2x": {2, 0}, "1.5x": {1.5, 0}, "500ms": {0, 500 * time.Millisecond}} {
		a := AccessLog{Slow: text}
		if f, d, ok := a.SlowFrom(); !ok || f != want.factor || d != want.after {
			t.Errorf("%s: %v, %v, %v", text, f, d, ok)
		}
	}
}
