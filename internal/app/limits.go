package app

import (
	"motley/internal/config"
	"motley/internal/oip"
	"motley/internal/router"
)

// limit sets what clients may cost.
func limit(to *router.Config, l *config.Limits) {
	to.MaxBody, to.MaxHeader, to.MaxHeaders = int(l.MaxBody), int(l.MaxHeader), l.MaxHeaders
	to.MaxConnections, to.MaxUploads, to.MaxBuffered = l.MaxConnections, l.MaxUploads, int64(l.MaxBuffered)
	to.ReadTimeout, to.HeaderTimeout, to.WriteTimeout, to.IdleTimeout = l.ReadTimeout, l.HeaderTimeout, l.WriteTimeout, l.IdleTimeout
	to.Linger = l.Linger
	to.MaxRatio = l.MaxRatio
	to.Limits = oip.Limits{MaxTensors: l.MaxTensors, MaxDepth: l.MaxJSONDepth}
	if to.MinBodyRate = l.MinBodyRate; l.MinBodyRate == 0 {
		to.MinBodyRate = -1 // none
	}
}
