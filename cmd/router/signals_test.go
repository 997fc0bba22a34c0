//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"motley/internal/app"
	"motley/internal/config"
	"motley/internal/handover"
)

// TestUpgradeOnce: of two signals to upgrade that come close together, the second finds that a
// successor serves already; one that comes when the router was told to stop is for nothing, too.
func TestUpgradeOnce(t *testing.T) {
	release := filepath.Join(t.TempDir(), "release")
	var log lines
	started := func() int { return strings.Count(log.String(), "starting a successor") }
	cfg, err := config.Parse("built-in configuration", config.Default())
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(cfg, app.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(context.Background())
	next := handover.Successor{
		Path: "/bin/sh", Timeout: time.Minute, Log: slog.New(slog.DiscardHandler),
		Args: []string{"sh", "-c", fmt.Sprintf("until [ -e %s ]; do sleep 0.01; done; echo ready >&3; exec sleep 1", release)},
	}
	for round := range 8 { // which of two things that have happened is seen first is left to chance
		_ = os.Remove(release)
		came := make(chan os.Signal, 1)
		serving, stop := upgradable(t.Context(), came, a, &handover.Sockets{}, next)
		came <- unix.SIGUSR2
		for late := time.Now().Add(20 * time.Second); started() == round && time.Now().Before(late); <-time.After(time.Millisecond) {
		}
		came <- unix.SIGUSR2
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		<-serving.Done()
		stop()
		if n, cause := started(), context.Cause(serving); n != round+1 || !errors.Is(cause, app.ErrHandedOver) {
			t.Fatalf("round %d: %d successors were started, %v", round, n, cause)
		}
		told, end := context.WithCancel(t.Context())
		end()
		came = make(chan os.Signal, 1)
		came <- unix.SIGUSR2
		_, stop = upgradable(told, came, a, &handover.Sockets{}, next)
		stop()
		if n := started(); n != round+1 {
			t.Fatalf("round %d: a router that stops has started a successor", round)
		}
	}
}
