package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"motley/internal/oip"
)

// Metadata asks the target for a model's.
func (t *Target) Metadata(ctx context.Context, model string) (*oip.ModelMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	where := "http://" + t.host + t.path + "/v2/models/" + url.PathEscape(model)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err // it names the URL
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", where, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d: %.200s", where, resp.StatusCode, body)
	}
	meta := new(oip.ModelMetadata)
	if err := json.Unmarshal(body, meta); err != nil {
		return nil, fmt.Errorf("%s: cannot read the metadata: %w", where, err)
	}
	return meta, nil
}
