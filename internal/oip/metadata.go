package oip

import (
	"encoding/json"
	"fmt"
)

// ServerMetadata answers GET /v2.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// LiveResponse answers GET /v2/health/live.
type LiveResponse struct {
	Live bool `json:"live"`
}

// ReadyResponse answers GET /v2/health/ready.
type ReadyResponse struct {
	Ready bool `json:"ready"`
}

// ModelReadyResponse answers GET /v2/models/{m}/ready.
type ModelReadyResponse struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
}

// ErrorResponse is the body of every error.
type ErrorResponse struct {
	Error string `json:"error"`
}

// MarshalJSON writes the metadata with all members that OIP requires: a model
// whose tensors are not known has none, which is [] and not null.
func (m ModelMetadata) MarshalJSON() ([]byte, error) {
	type plain ModelMetadata
	if m.Inputs == nil {
		m.Inputs = []TensorMetadata{}
	}
	if m.Outputs == nil {
		m.Outputs = []TensorMetadata{}
	}
	return json.Marshal(plain(m))
}

// Stat is a counter of events and the time they took.
type Stat struct {
	Count uint64 `json:"count"`
	Ns    uint64 `json:"ns"` // nanoseconds, summed
}

// InferenceStats are the statistics of a model by phase of a request's life.
type InferenceStats struct {
	Success       Stat `json:"success"`
	Fail          Stat `json:"fail"`
	Queue         Stat `json:"queue"`
	ComputeInput  Stat `json:"compute_input"`
	ComputeInfer  Stat `json:"compute_infer"`
	ComputeOutput Stat `json:"compute_output"`
	CacheHit      Stat `json:"cache_hit"`
	CacheMiss     Stat `json:"cache_miss"`
}

// BatchStats are the statistics of the executions of one batch size.
type BatchStats struct {
	BatchSize     uint64 `json:"batch_size"` // items
	ComputeInput  Stat   `json:"compute_input"`
	ComputeInfer  Stat   `json:"compute_infer"`
	ComputeOutput Stat   `json:"compute_output"`
}

// ModelStats are the statistics of one version of a model.
type ModelStats struct {
	Name           string         `json:"name"`
	Version        string         `json:"version"`
	LastInference  uint64         `json:"last_inference"`  // ms since the Unix epoch
	InferenceCount uint64         `json:"inference_count"` // items
	ExecutionCount uint64         `json:"execution_count"` // batches
	InferenceStats InferenceStats `json:"inference_stats"`
	BatchStats     []BatchStats   `json:"batch_stats"`
}

// StatsResponse answers GET /v2/models/stats and /v2/models/{m}/stats.
type StatsResponse struct {
	ModelStats []ModelStats `json:"model_stats"`
}

// RepositoryIndexRequest is the body of POST /v2/repository/index.
type RepositoryIndexRequest struct {
	Ready bool `json:"ready,omitempty"` // only the models that are ready
}

// The states of a RepositoryIndexEntry.
const (
	StateReady       = "READY"
	StateUnavailable = "UNAVAILABLE"
	StateLoading     = "LOADING"
	StateUnloading   = "UNLOADING"
)

// RepositoryIndexEntry is one element of the array that answers
// POST /v2/repository/index.
type RepositoryIndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// ConfigDatatype is a Datatype in the spelling of a model configuration:
// TYPE_FP32, and TYPE_STRING for BYTES.
type ConfigDatatype Datatype

// MarshalJSON writes the name with its prefix.
func (d ConfigDatatype) MarshalJSON() ([]byte, error) {
	name := Datatype(d).String()
	if Datatype(d) == Bytes {
		name = "STRING"
	}
	return []byte(`"TYPE_` + name + `"`), nil
}

// UnmarshalJSON reads a name with its prefix.
func (d *ConfigDatatype) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("cannot read data_type: %w", err)
	}
	switch {
	case s == "TYPE_STRING":
		*d = ConfigDatatype(Bytes)
		return nil
	case s == "TYPE_INVALID":
		*d = ConfigDatatype(Invalid)
		return nil
	case len(s) > 5 && s[:5] == "TYPE_":
		if v, ok := ParseDatatype([]byte(s[5:])); ok && v != Bytes {
			*d = ConfigDatatype(v)
			return nil
		}
	}
	return fmt.Errorf("cannot read data_type: %.32q is not one of Triton's", s)
}

// ConfigTensor is one input or output of a model configuration. Dims leave
// out the batch dimension.
type ConfigTensor struct {
	Name     string         `json:"name"`
	DataType ConfigDatatype `json:"data_type"`
	Dims     []int64        `json:"dims"`
}

// DynamicBatching is the part of a model configuration that tells that the
// server merges requests.
type DynamicBatching struct {
	PreferredBatchSize        []int  `json:"preferred_batch_size,omitempty"`
	MaxQueueDelayMicroseconds uint64 `json:"max_queue_delay_microseconds"`
}

// ModelConfig answers GET /v2/models/{m}/config with the members that clients
// read.
type ModelConfig struct {
	Name            string           `json:"name"`
	Platform        string           `json:"platform"`
	Backend         string           `json:"backend"`
	MaxBatchSize    int              `json:"max_batch_size"` // items; 0: the model does not batch
	Input           []ConfigTensor   `json:"input"`
	Output          []ConfigTensor   `json:"output"`
	DynamicBatching *DynamicBatching `json:"dynamic_batching,omitempty"`
}
