package router

import (
	"fmt"
	"time"

	"motley/internal/http1"
)

// bodyGrace is how long a body may come at any rate.
const bodyGrace = 10 * time.Second

// pace says by when a request that has begun must go on. Times are in ns on any clock.
type pace struct {
	header time.Duration // from the first byte to the end of the head; 0 = no limit
	read   time.Duration // to the end of the request; 0 = no limit
	rate   int           // bytes of the body each second, after bodyGrace; 0 = no limit
}

func (cfg *Config) pace() pace {
	return pace{header: max(cfg.HeaderTimeout, 0), read: max(cfg.ReadTimeout, 0), rate: max(cfg.MinBodyRate, 0)}
}

// coming is what has come of a request.
type coming struct {
	began int64 // its first byte
	head  int64 // the end of its head; 0: it is not whole
	body  int   // bytes of its body
}

// until is when the next byte must be there; 0 = whenever.
func (p pace) until(c coming) int64 {
	whole := int64(0)
	if p.read > 0 {
		whole = c.began + int64(p.read)
	}
	own := int64(0)
	switch {
	case c.head == 0 && p.header > 0:
		own = c.began + int64(p.header)
	case c.head > 0 && p.rate > 0:
		own = c.head + int64(bodyGrace) + int64(float64(c.body)/float64(p.rate)*1e9)
	}
	if own > 0 && (whole == 0 || own < whole) {
		return own
	}
	return whole
}

// tooSlow is what a client is told whose next byte was not there in time.
func (p pace) tooSlow(c coming) *http1.Fault {
	f := &http1.Fault{Status: 408, Text: fmt.Sprintf("request did not arrive within %v", p.read)}
	switch {
	case p.read > 0 && p.until(c) == c.began+int64(p.read):
	case c.head == 0:
		f.Text = fmt.Sprintf("request head did not arrive within %v", p.header)
	default:
		f.Text = fmt.Sprintf("request body came slower than %d bytes per second", p.rate)
	}
	return f
}
