// Package spot asks the metadata services of clouds whether the host that they speak
// for is about to be taken away.
package spot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Form is whose metadata service it is.
type Form string

// The forms.
const (
	// AWS: EC2, the instance metadata service in version 2 (IMDSv2), its
	// /latest/meta-data/spot/instance-action.
	AWS Form = "aws"
	// GCP: Compute Engine, /computeMetadata/v1/instance/preempted.
	GCP Form = "gcp"
	// Azure: Scheduled Events in version 2020-07-01, of type Preempt.
	Azure Form = "azure"
)

// Notice is that a host is about to be taken away.
type Notice struct {
	What string    // is to become of it, as the cloud calls it
	At   time.Time // when
}

// Watcher asks over and over.
type Watcher struct {
	Form     Form
	URL      string        // of the service, without a path: http://169.254.169.254
	Resource string        // Azure: the machine's name among an event's resources; empty = any
	Every    time.Duration // between two questions
	Client   *http.Client  // nil: one with a timeout of 2 s, without a proxy, that follows nobody elsewhere
	// Failed is told why a question had no answer, where that is another reason than the
	// last time; nil: nobody is.
	Failed func(error)

	token   string // of AWS
	renewed time.Time
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Wait returns the first notice there is. It returns false when ctx ends.
func (w *Watcher) Wait(ctx context.Context) (Notice, bool) {
	if w.Client == nil {
		transport := &http.Transport{DisableKeepAlives: true} // no proxy: the service is the host's own
		w.Client = &http.Client{Timeout: 2 * time.Second, Transport: transport}
	}
	client := *w.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.Client = &client
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	told := ""
	for {
		notice, err := w.Ask(ctx)
		switch {
		case ctx.Err() != nil:
			return Notice{}, false
		case err != nil:
			if text := err.Error(); text != told && w.Failed != nil {
				told = text
				w.Failed(err)
			}
		case notice != nil:
			return *notice, true
		default:
			told = ""
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Notice{}, false
		}
	}
}

// Ask asks once; nil, without an error: the host stays for now.
func (w *Watcher) Ask(ctx context.Context) (n *Notice, err error) {
	switch w.Form {
	case AWS:
		n, err = w.aws(ctx)
	case GCP:
		n, err = w.gcp(ctx)
	case Azure:
		n, err = w.azure(ctx)
	default:
		err = errors.New("BUG: no such form")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for notices: %w", w.URL, err)
	}
	return n, nil
}

// errAbsent is that there is no such page.
var errAbsent = errors.New("404 Not Found")

// get reads one page. headers are names and values, by turns.
func (w *Watcher) get(ctx context.Context, method, path string, headers ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(w.URL, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := w.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s is answered with more than %d bytes", path, maxAnswer)
	case resp.StatusCode == http.StatusNotFound:
		return nil, errAbsent
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s is answered with %s", path, resp.Status)
	}
	return body, nil
}
