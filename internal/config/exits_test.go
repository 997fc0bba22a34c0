package config

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/earlyexit"
)

// TestEarlyExit reads a calibration file as it is and packed, and finds the
// defaults where nothing is said.
func TestEarlyExit(t *testing.T) {
	plain, err := os.ReadFile("testdata/exits/good.csv")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(plain)
	_ = z.Close()
	for name, data := range map[string][]byte{"exits.csv": plain, "exits.csv.gz": packed.Bytes()} {
		dir := t.TempDir()
		path := filepath.Join(dir, "router.yaml")
		text := strings.Replace(string(Default()), "max_batch: 64", "early_exit: {mode: compute, target: 0.98, calibration: "+name+"}", 1)
		for file, content := range map[string][]byte{path: []byte(text), filepath.Join(dir, name): data} {
			if err := os.WriteFile(file, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		e := c.Models[0].EarlyExit
		if e.Parsed() != earlyexit.Compute || e.Target != 0.98 || e.RampBudget != 0.02 || e.AuditShare != 0.04 || e.Calibration != filepath.Join(dir, name) {
			t.Errorf("%s: %+v", name, e)
		}
		if s := e.Recorded; s == nil || s.Ramps != 2 || len(s.Rows) != 2 || len(s.Depth) != 2 {
			t.Errorf("%s: recorded %+v", name, s)
		}
	}
	e := load(t, "quickstart.yaml").Models[0].EarlyExit
	if e.Parsed() != earlyexit.Off || e.Target != 0.99 || e.Recorded != nil {
		t.Errorf("the quickstart has %+v", e)
	}
}

// TestExitsFile: what is learned of exits is kept beside the profiles.
func TestExitsFile(t *testing.T) {
	l := Learned{File: "/var/lib/router.learned"}
	if got := l.Exits("fashion"); got != "/var/lib/router.learned.fashion.exits" {
		t.Errorf("kept in %s", got)
	}
	if got := (&Learned{}).Exits("fashion"); got != "" {
		t.Errorf("kept in %s", got)
	}
}
