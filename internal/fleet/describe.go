package fleet

import (
	"fmt"
	"time"

	"motley/internal/oip"
)

// serverVersion is the servers' own.
const serverVersion = "1"

func (s *server) metadata() oip.ServerMetadata {
	m := oip.ServerMetadata{
		Name: "motley-emulated " + s.kind, Version: serverVersion,
		Extensions: []string{"parameters", "model_configuration", "statistics"},
	}
	if s.binary {
		m.Extensions = append(m.Extensions, "binary_tensor_data")
	}
	return m
}

func (s *server) index() []oip.RepositoryIndexEntry {
	var all []oip.RepositoryIndexEntry
	for i := range s.models {
		all = append(all, oip.RepositoryIndexEntry{Name: s.models[i].Name, Version: version, State: oip.StateReady})
	}
	return all
}

func (s *server) config(m int) oip.ModelConfig {
	meta := s.models[m].meta
	c := oip.ModelConfig{
		Name: meta.Name, Platform: meta.Platform, Backend: "motley", MaxBatchSize: s.queue.most[m],
		Input: configTensors(meta.Inputs), Output: configTensors(meta.Outputs),
	}
	if s.batching {
		c.DynamicBatching = &oip.DynamicBatching{MaxQueueDelayMicroseconds: uint64(s.queue.delay / time.Microsecond)}
	}
	return c
}

// configTensors leaves the batch out, as a model configuration does.
func configTensors(of []oip.TensorMetadata) []oip.ConfigTensor {
	all := make([]oip.ConfigTensor, 0, len(of))
	for _, t := range of {
		all = append(all, oip.ConfigTensor{
			Name: t.Name, DataType: oip.ConfigDatatype(t.Datatype), Dims: append([]int64{}, t.Shape[1:]...),
		})
	}
	return all
}

// stats are the statistics of every model.
func (s *server) stats() []oip.ModelStats {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	all := make([]oip.ModelStats, len(s.models))
	for i := range s.models {
		all[i] = s.queue.mu.tally[i].stats(s.models[i].Name)
	}
	return all
}

// metrics are the statistics in Prometheus's text format, under Triton's
// names.
func (s *server) metrics() []byte {
	stats := s.stats()
	s.queue.mu.Lock()
	waiting := make([]int, len(s.models))
	for _, j := range s.queue.mu.waiting {
		waiting[j.model]++
	}
	busy := s.queue.mu.busy
	s.queue.mu.Unlock()
	us := func(ns uint64) uint64 { return ns / 1000 }
	var b []byte
	for _, f := range []struct {
		name, kind, help string
		value            func(i int, m *oip.ModelStats) uint64
	}{
		{"nv_inference_request_success", "counter", "Requests answered with 200.", func(_ int, m *oip.ModelStats) uint64 { return m.InferenceStats.Success.Count }},
		{"nv_inference_request_failure", "counter", "Requests answered otherwise, or not at all.", func(_ int, m *oip.ModelStats) uint64 { return m.InferenceStats.Fail.Count }},
		{"nv_inference_count", "counter", "Rows executed.", func(_ int, m *oip.ModelStats) uint64 { return m.InferenceCount }},
		{"nv_inference_exec_count", "counter", "Executions.", func(_ int, m *oip.ModelStats) uint64 { return m.ExecutionCount }},
		{"nv_inference_request_duration_us", "counter", "From arrival to answer, over requests.", func(_ int, m *oip.ModelStats) uint64 { return us(m.InferenceStats.Success.Ns) }},
		{"nv_inference_queue_duration_us", "counter", "In the queue, over requests.", func(_ int, m *oip.ModelStats) uint64 { return us(m.InferenceStats.Queue.Ns) }},
		{"nv_inference_compute_input_duration_us", "counter", "Always 0.", func(int, *oip.ModelStats) uint64 { return 0 }},
		{"nv_inference_compute_infer_duration_us", "counter", "In execution, over requests.", func(_ int, m *oip.ModelStats) uint64 { return us(m.InferenceStats.ComputeInfer.Ns) }},
		{"nv_inference_compute_output_duration_us", "counter", "Always 0.", func(int, *oip.ModelStats) uint64 { return 0 }},
		{"nv_inference_pending_request_count", "gauge", "Requests in the queue.", func(i int, _ *oip.ModelStats) uint64 { return uint64(waiting[i]) }},
	} {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for i := range stats {
			b = fmt.Appendf(b, "%s{model=%q,version=%q} %d\n", f.name, stats[i].Name, stats[i].Version, f.value(i, &stats[i]))
		}
	}
	return fmt.Appendf(b, "# HELP emulated_busy_seconds_total In execution, over slots.\n# TYPE emulated_busy_seconds_total counter\nemulated_busy_seconds_total %g\n", busy.Seconds())
}
