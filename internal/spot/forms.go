package spot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The times that clouds leave where they name none.
const (
	// gcpNotice: "Compute Engine sends an ACPI G2 soft off signal … after 30 seconds an ACPI
	// G3 mechanical off".
	gcpNotice = 30 * time.Second
	// azureNotice is how long before an event of type Preempt it is told of at least, for
	// those that have begun or name no time.
	azureNotice = 30 * time.Second

	tokenTime = 6 * time.Hour // for which AWS' token is asked; the most there is
)

// aws asks EC2: a token first, then for an action. There is none as long as the page is
// not there.
func (w *Watcher) aws(ctx context.Context) (*Notice, error) {
	const page = "/latest/meta-data/spot/instance-action"
	if w.token == "" || time.Since(w.renewed) > tokenTime/2 {
		token, err := w.get(ctx, http.MethodPut, "/latest/api/token",
			"X-aws-ec2-metadata-token-ttl-seconds", fmt.Sprint(int(tokenTime.Seconds())))
		if err != nil {
			return nil, fmt.Errorf("no token: %w", err)
		}
		if len(token) == 0 || len(token) > 1024 || slices.ContainsFunc(token, func(c byte) bool { return c <= ' ' || c > '~' }) {
			return nil, errors.New("the token is none")
		}
		w.token, w.renewed = string(token), time.Now()
	}
	body, err := w.get(ctx, http.MethodGet, page, "X-aws-ec2-metadata-token", w.token)
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	if err != nil {
		w.token = "" // it may be that
		return nil, err
	}
	var a struct {
		Action string    `json:"action"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	switch a.Action {
	case "terminate", "stop", "hibernate":
	default:
		return nil, fmt.Errorf("%s: unknown action %.40q", page, a.Action)
	}
	if a.Time.IsZero() {
		return nil, fmt.Errorf("%s: %s at no time", page, a.Action)
	}
	return &Notice{a.Action, a.Time}, nil
}

// gcp asks Compute Engine.
func (w *Watcher) gcp(ctx context.Context) (*Notice, error) {
	const page = "/computeMetadata/v1/instance/preempted"
	body, err := w.get(ctx, http.MethodGet, page, "Metadata-Flavor", "Google")
	if err != nil {
		return nil, err
	}
	switch text := strings.TrimSpace(string(body)); text {
	case "TRUE":
		return &Notice{"preempted", time.Now().Add(gcpNotice)}, nil
	case "FALSE":
		return nil, nil
	default:
		return nil, fmt.Errorf("%s: %.40q is neither TRUE nor FALSE", page, text)
	}
}

// azure asks Scheduled Events.
func (w *Watcher) azure(ctx context.Context) (*Notice, error) {
	const page = "/metadata/scheduledevents?api-version=2020-07-01"
	body, err := w.get(ctx, http.MethodGet, page, "Metadata", "true")
	if err != nil {
		return nil, err
	}
	var all struct {
		Events []struct {
			EventType, EventStatus, NotBefore string
			Resources                         []string
		}
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	if all.Events == nil {
		return nil, fmt.Errorf("%s: it lists no events", page)
	}
	var first *Notice
	for _, e := range all.Events {
		if e.EventType != "Preempt" || w.Resource != "" && !slices.Contains(e.Resources, w.Resource) {
			continue
		}
		at := time.Now().Add(azureNotice)
		if e.NotBefore != "" {
			if at, err = time.Parse(time.RFC1123, e.NotBefore); err != nil {
				return nil, fmt.Errorf("%s: %.60q is no time", page, e.NotBefore)
			}
		}
		if first == nil || at.Before(first.At) {
			first = &Notice{"Preempt", at}
		}
	}
	return first, nil
}
