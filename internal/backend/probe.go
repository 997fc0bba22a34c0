package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"motley/internal/oip"
)

// factsAge is how long what a server said of itself is believed while it
// stays ready.
const factsAge = 30 * time.Second

// serverFacts is what GET /v2 tells.
type serverFacts struct {
	binary   bool
	platform string
	read     time.Time
}

// modelFacts is what a model's metadata and configuration tell.
type modelFacts struct {
	metadata *oip.ModelMetadata
	maxBatch int
	exits    *remoteExits // nil: no ramps
	read     time.Time
}

// Probe implements Backend: it asks whether the model is ready, and where
// that is news (or 30 s old) what server and model say of themselves. Each
// missing piece leaves its field empty. It is an error only when the server
// cannot be reached or does not speak HTTP.
func (r *Remote) Probe(ctx context.Context, model string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ProbeTimeout)
	defer cancel()
	path := modelsPath + url.PathEscape(r.upstream(model))
	rep, err := r.fetch(ctx, path, "/ready")
	if err != nil {
		r.forget(model)
		return Status{}, err
	}
	// A server without the endpoint is ready when it describes the model.
	noSuchEndpoint := rep.status == 404 || rep.status == 405 || rep.status == 501
	ready := rep.status == 200 && saysReady(rep.body)
	if !ready && !noSuchEndpoint {
		r.forget(model)
		return Status{Platform: r.platform()}, nil
	}
	now := time.Now()
	r.mu.Lock()
	server, facts := r.mu.server, r.mu.models[model]
	r.mu.Unlock()
	if server == nil || now.Sub(server.read) > factsAge {
		if server, err = r.readServer(ctx); err != nil {
			return Status{}, err
		}
	}
	if facts == nil || noSuchEndpoint || now.Sub(facts.read) > factsAge {
		if facts, err = r.readModel(ctx, model, path); err != nil {
			return Status{}, err
		}
	}
	r.mu.Lock()
	r.mu.server, r.mu.models[model] = server, facts
	r.mu.Unlock()
	r.learnFit(model, facts.metadata)
	return Status{
		Ready:    ready || facts.metadata != nil,
		Metadata: facts.metadata,
		MaxBatch: facts.maxBatch,
		Binary:   r.binary(),
		Platform: server.platform,
	}, nil
}

// saysReady reads {"ready": bool}; an empty body or one without that member
// leaves it to the status.
func saysReady(body []byte) bool {
	var form struct {
		Ready *bool `json:"ready"`
	}
	return json.Unmarshal(body, &form) != nil || form.Ready == nil || *form.Ready
}

func (r *Remote) readServer(ctx context.Context) (*serverFacts, error) {
	rep, err := r.fetch(ctx, "/v2", "")
	if err != nil {
		return nil, err
	}
	f := &serverFacts{read: time.Now()}
	var form oip.ServerMetadata
	if rep.status == 200 && json.Unmarshal(rep.body, &form) == nil {
		f.binary = slices.Contains(form.Extensions, "binary_tensor_data")
		f.platform = strings.TrimSpace(clip(form.Name) + " " + clip(form.Version))
	}
	return f, nil
}

func (r *Remote) readModel(ctx context.Context, model, path string) (*modelFacts, error) {
	rep, err := r.fetch(ctx, path, "")
	if err != nil {
		return nil, err
	}
	f := &modelFacts{read: time.Now()}
	var meta oip.ModelMetadata
	if rep.status == 200 && json.Unmarshal(rep.body, &meta) == nil {
		meta.Name = model
		f.metadata = &meta
		f.exits = readExits(rep.body)
	}
	if rep, err = r.fetch(ctx, path, "/config"); err != nil {
		return nil, err
	}
	var form struct {
		MaxBatch int `json:"max_batch_size"`
	}
	if rep.status == 200 && json.Unmarshal(rep.body, &form) == nil && form.MaxBatch > 0 {
		f.maxBatch = form.MaxBatch
	}
	return f, nil
}

// fetch GETs a small document.
func (r *Remote) fetch(ctx context.Context, path, tail string) (reply, error) {
	deadline, _ := ctx.Deadline()
	rep, err := r.do(ctx, deadline, query{method: "GET", path: path, tail: tail}, nil)
	if err != nil {
		return rep, fmt.Errorf("cannot probe %s%s: %w", path, tail, err)
	}
	return rep, nil
}

// forget makes the next probe read everything again: a server that was away
// may come back as another. Until then its extensions are believed.
func (r *Remote) forget(model string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.server != nil {
		old := *r.mu.server
		old.read = time.Time{}
		r.mu.server = &old
	}
	delete(r.mu.models, model)
}

func (r *Remote) platform() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.server == nil {
		return ""
	}
	return r.mu.server.platform
}

// binary reports whether batches may be sent in the binary extension now.
func (r *Remote) binary() bool {
	switch r.cfg.Binary {
	case "on":
		return true
	case "off":
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.server != nil && r.mu.server.binary
}
