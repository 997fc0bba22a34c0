package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"motley/internal/oip"
)

// ErrNoStats says that a server keeps no statistics of its own.
var ErrNoStats = errors.New("the server keeps no statistics")

// Stats asks the server what it tells of the batches that it ran, of every version
// of the model, as Triton does: GET /v2/models/{m}/stats. A server without that is
// ErrNoStats.
func (r *Remote) Stats(ctx context.Context, model string) ([]oip.ModelStats, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ProbeTimeout)
	defer cancel()
	path := modelsPath + url.PathEscape(r.upstream(model))
	rep, err := r.fetch(ctx, path, "/stats")
	if err != nil {
		return nil, err
	}
	switch rep.status {
	case 200:
	case 404, 405, 501:
		return nil, fmt.Errorf("%w: GET %s/stats answers %d", ErrNoStats, path, rep.status)
	default:
		return nil, fmt.Errorf("cannot read %s/stats: status %d: %s", path, rep.status, clip(string(rep.body)))
	}
	var form oip.StatsResponse
	if err := json.Unmarshal(rep.body, &form); err != nil {
		return nil, fmt.Errorf("cannot read %s/stats: %w", path, err)
	}
	if len(form.ModelStats) == 0 {
		return nil, fmt.Errorf("%w: %s/stats has no model_stats", ErrNoStats, path)
	}
	return form.ModelStats, nil
}
