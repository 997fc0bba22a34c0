package app

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/accesslog"
	"motley/internal/config"
)

// newAccessLog makes the access log, which is off, and its metrics.
func newAccessLog(registry prometheus.Registerer, log *slog.Logger) *accesslog.Log {
	l := accesslog.New(os.Stderr, log)
	counter(registry, "motley_access_log_lines_total", "Lines of the access log that were written.", l.Written)
	counter(registry, "motley_access_log_dropped_total", "Lines of the access log that were lost: the disk was full, or could not keep up.", l.Dropped)
	return l
}

// prepareAccessLog is the preparer of the access log: a commit opens the file anew.
func (a *App) prepareAccessLog(cfg *config.Config) (commit func(), err error) {
	return a.accessLog.Prepare(accessSettings(&cfg.Log.Access))
}

// prepareLog is the preparer of what the router tells besides.
func (a *App) prepareLog(cfg *config.Config) (commit func(), err error) {
	if now := a.cfg.Log.Format; cfg.Log.Format != now {
		return nil, fmt.Errorf("log.format is %s and cannot become %s while the router runs", now, cfg.Log.Format)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, fmt.Errorf("cannot use log.level: %w", err)
	}
	return func() {
		if a.level != nil {
			a.level.Set(level)
		}
	}, nil
}

// accessSettings are nil where there is to be no access log.
func accessSettings(c *config.AccessLog) *accesslog.Settings {
	if !c.Enabled {
		return nil
	}
	factor, after, ok := c.SlowFrom()
	if !ok {
		panic("BUG: log.access.slow was not checked: " + c.Slow)
	}
	return &accesslog.Settings{
		File: c.File, Text: c.Format == "text", Sample: c.Sample, After: after, Factor: factor,
		Errors: c.Errors == "always", Client: c.Client,
	}
}
