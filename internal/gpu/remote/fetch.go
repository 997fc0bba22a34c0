// Package remote asks other hosts how their devices do: an agent of ours, a
// DCGM exporter, or a Triton server's metrics page. Whatever comes back is
// bounded, and either understood or an error.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"motley/internal/gpu/device"
)

// DefaultLimit is how long a host may take to answer.
const DefaultLimit = 2 * time.Second

// Options say whom to ask.
type Options struct {
	URL string // of the page itself: http(s)://HOST:PORT/PATH
	// Client asks; its transport holds the TLS configuration. Default: one
	// that follows no redirects.
	Client *http.Client
	Limit  time.Duration // for one answer; default DefaultLimit
}

func (o Options) withDefaults() (Options, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return o, fmt.Errorf("cannot poll %q: %w", o.URL, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return o, fmt.Errorf("cannot poll %q: want http:// or https:// and a host", o.URL)
	}
	if o.Client == nil {
		o.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	return o, nil
}

// get reads the page, up to device.MaxPage bytes of it.
func (o Options) get(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot poll: %w", err)
	}
	resp, err := o.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot poll: %w", err) // it names the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot poll %s: status %s", o.URL, resp.Status)
	}
	if resp.ContentLength > device.MaxPage {
		return nil, fmt.Errorf("cannot poll %s: %w", o.URL, device.ErrTooLarge)
	}
	data, err := device.ReadBounded(resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("it ends too early: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot poll %s: %w", o.URL, err)
	}
	return data, nil
}
