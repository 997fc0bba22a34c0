package router

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// clientCollector tells how clients load the front end, when it is scraped.
type clientCollector struct {
	server atomic.Pointer[Server] // nil until there is one
}

// turnedAway counts what is refused for want of room, whoever asks.
type turnedAway struct {
	connections, bodies, uploads atomic.Uint64
}

var (
	openConnections = prometheus.NewDesc("motley_client_connections", "Connections of clients that are open.", nil, nil)
	heldBytes       = prometheus.NewDesc("motley_held_body_bytes", "Bytes of request bodies that are held: being read, waiting, with a worker.", nil, nil)
	uploading       = prometheus.NewDesc("motley_uploads", "Requests that are read by goroutines of their own.", nil, nil)
	turned          = prometheus.NewDesc("motley_turned_away_total",
		"Connections and requests refused for want of room, before anything was known of them, by the limit that was reached.", []string{"limit"}, nil)
)

// Describe implements prometheus.Collector.
func (c *clientCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{openConnections, heldBytes, uploading, turned} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *clientCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.server.Load()
	if s == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(openConnections, float64(s.connections()))
	gauge(heldBytes, float64(s.budget.held.Load()))
	gauge(uploading, float64(s.uploads.Load()))
	for limit, n := range map[string]*atomic.Uint64{
		"max_connections": &s.turned.connections, "max_buffered": &s.turned.bodies, "max_uploads": &s.turned.uploads,
	} {
		ch <- prometheus.MustNewConstMetric(turned, prometheus.CounterValue, float64(n.Load()), limit)
	}
}
