package router

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"motley/internal/live"
	"motley/internal/oip"
	"motley/internal/pool"
)

// extensions are those of the protocol's that are there.
var extensions = []string{"binary_tensor_data", "parameters", "schedule_policy", "model_configuration", "statistics"}

func (s *Server) serverMetadata(ctx *fasthttp.RequestCtx) {
	writeJSON(ctx, oip.ServerMetadata{Name: s.cfg.Name, Version: s.cfg.Version, Extensions: extensions})
}

// ready reports whether every model can be asked.
func (s *Server) ready() bool {
	if s.stopping.Load() {
		return false
	}
	for _, m := range s.offered() {
		if !s.loop.ModelReady(m.ID) {
			return false
		}
	}
	return true
}

// versions are the model's versions: those its workers told, else "1".
func (m *model) versions(info ModelInfo) []string {
	if info.Metadata != nil && len(info.Metadata.Versions) > 0 {
		return info.Metadata.Versions
	}
	return []string{"1"}
}

// hasVersion reports whether v is one of the model's versions.
func (m *model) hasVersion(v []byte) bool {
	info := m.Info()
	if info.Metadata == nil || len(info.Metadata.Versions) == 0 {
		return string(v) == "1"
	}
	for _, have := range info.Metadata.Versions {
		if string(v) == have {
			return true
		}
	}
	return false
}

func (m *model) stats() oip.ModelStats {
	return m.metrics.stats.stats(m.Name, m.versions(m.Info())[0])
}

// writeUnknownYet answers what no worker has told.
func (s *Server) writeUnknownYet(ctx *fasthttp.RequestCtx, m *model) {
	s.reply(ctx, failure{
		fasthttp.StatusServiceUnavailable,
		fmt.Sprintf("model '%s' is not ready: no worker has told its metadata", m.Name), true, time.Second,
	})
}

func (s *Server) modelMetadata(ctx *fasthttp.RequestCtx, m *model) {
	info := m.Info()
	if info.Metadata == nil {
		s.writeUnknownYet(ctx, m)
		return
	}
	meta := *info.Metadata
	meta.Name = m.Name
	meta.Versions = m.versions(info)
	meta.Properties = m.properties(info)
	writeJSON(ctx, meta)
}

func (s *Server) modelConfig(ctx *fasthttp.RequestCtx, m *model) {
	info := m.Info()
	if info.Metadata == nil {
		s.writeUnknownYet(ctx, m)
		return
	}
	backend, _, _ := strings.Cut(info.Metadata.Platform, "_")
	c := oip.ModelConfig{
		Name:     m.Name,
		Platform: info.Metadata.Platform,
		Backend:  backend,
		Input:    configTensors(info.Metadata.Inputs, info.Batched),
		Output:   configTensors(info.Metadata.Outputs, info.Batched),
	}
	if info.Batched {
		c.MaxBatchSize = max(info.MaxBatch, 1)
		c.DynamicBatching = &oip.DynamicBatching{}
	}
	writeJSON(ctx, c)
}

// configTensors leaves the batch dimension out, as a model configuration does.
func configTensors(of []oip.TensorMetadata, batched bool) []oip.ConfigTensor {
	out := make([]oip.ConfigTensor, 0, len(of))
	for _, t := range of {
		dims := t.Shape
		if batched && len(dims) > 0 {
			dims = dims[1:]
		}
		out = append(out, oip.ConfigTensor{
			Name: t.Name, DataType: oip.ConfigDatatype(t.Datatype), Dims: append([]int64{}, dims...),
		})
	}
	return out
}

func (s *Server) allStats(ctx *fasthttp.RequestCtx, x *exchange) {
	answer := oip.StatsResponse{ModelStats: make([]oip.ModelStats, 0, len(s.offered()))}
	for _, m := range s.offered() {
		if x.pass.May(m.Name) {
			answer.ModelStats = append(answer.ModelStats, m.stats())
		}
	}
	writeJSON(ctx, answer)
}

func (s *Server) repositoryIndex(ctx *fasthttp.RequestCtx, x *exchange) {
	var only oip.RepositoryIndexRequest
	if body := ctx.PostBody(); len(body) > 0 {
		if err := json.Unmarshal(body, &only); err != nil {
			writeError(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("cannot parse the request: %v", err))
			return
		}
	}
	index := make([]oip.RepositoryIndexEntry, 0, len(s.offered()))
	for _, m := range s.offered() {
		if !x.pass.May(m.Name) {
			continue
		}
		e := oip.RepositoryIndexEntry{Name: m.Name, Version: m.versions(m.Info())[0], State: oip.StateReady}
		if !s.loop.ModelReady(m.ID) {
			e.State, e.Reason = oip.StateUnavailable, "no worker is up"
			if only.Ready {
				continue
			}
		}
		index = append(index, e)
	}
	writeJSON(ctx, index)
}

// modelState is a model's part of /debug/state.
type modelState struct {
	Name          string       `json:"name"`
	ID            pool.ModelID `json:"id"`
	Ready         bool         `json:"ready"`
	QoSMS         float64      `json:"qos_ms"`
	Percentile    float64      `json:"percentile"`
	Batched       bool         `json:"batched"`
	MaxBatch      int          `json:"max_batch"`
	MetadataKnown bool         `json:"metadata_known"`
}

// routerState is /debug/state.
type routerState struct {
	Name      string        `json:"name"`
	Version   string        `json:"version"`
	GoVersion string        `json:"go_version"`
	Started   time.Time     `json:"started"`
	UptimeS   float64       `json:"uptime_seconds"`
	Stopping  bool          `json:"stopping"`
	Open      int           `json:"open_connections"`
	Models    []modelState  `json:"models"`
	Loop      live.Snapshot `json:"loop"`
}

func (s *Server) debugState() any {
	state := routerState{
		Name:      s.cfg.Name,
		Version:   s.cfg.Version,
		GoVersion: runtime.Version(),
		Started:   s.started,
		UptimeS:   time.Since(s.started).Seconds(),
		Stopping:  s.stopping.Load(),
		Open:      int(s.open.Load()),
		Models:    make([]modelState, 0, len(s.offered())),
		Loop:      s.loop.Snapshot(),
	}
	for _, m := range s.offered() {
		info := m.Info()
		state.Models = append(state.Models, modelState{
			Name: m.Name, ID: m.ID, Ready: s.loop.ModelReady(m.ID),
			QoSMS: float64(m.QoS) / float64(time.Millisecond), Percentile: m.Percentile,
			Batched: info.Batched, MaxBatch: info.MaxBatch, MetadataKnown: info.Metadata != nil,
		})
	}
	return state
}
