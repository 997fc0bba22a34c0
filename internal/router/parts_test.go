package router

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"motley/internal/live"
)

// A request with more rows than any worker takes is let through where its rows
// may run apart, and says in how many parts they did.
func TestLargeRequests(t *testing.T) {
	const text = `{"error":"inference request batch-size must be <= 8 for model 'adder', got 20"}`
	rows := strings.TrimSuffix(strings.Repeat("1,2,", 20), ",")
	body := func(more string) string {
		return fmt.Sprintf(`{%s"inputs":[{"name":"x","shape":[20,2],"datatype":"FP32","data":[%s]}]}`, more, rows)
	}
	var splits atomic.Bool
	splits.Store(true)
	f := newFixture(t, func(cfg *Config) {
		cfg.Models[0].Info = func() ModelInfo {
			return ModelInfo{Metadata: adderMetadata, Batched: true, MaxBatch: 8, Splits: splits.Load()}
		}
	})
	answer := answerWith(jsonAnswer, -1)
	f.loop.set(func(r *live.Request) error {
		r.Parts = 3
		return answer(r)
	})
	res := f.do("POST", "/v2/models/adder/infer", body(""))
	if seen, _ := f.loop.last(); res.status != 200 || res.header.Get("X-Motley-Parts") != "3" || seen.Whole || seen.Size != 20 {
		t.Errorf("status %d, parts %q, the loop got %d items, whole: %v: %s", res.status, res.header.Get("X-Motley-Parts"), seen.Size, seen.Whole, res.body)
	}
	res = f.do("POST", "/v2/models/adder/infer", body(`"parameters":{"sequence_id":1},`))
	if res.status != 400 || string(res.body) != text {
		t.Errorf("a sequence: status %d: %s", res.status, res.body)
	}
	f.loop.set(answer)
	if res = f.do("POST", "/v2/models/adder/infer", validInfer); res.status != 200 || res.header.Get("X-Motley-Parts") != "" {
		t.Errorf("one row: status %d, parts %q", res.status, res.header.Get("X-Motley-Parts"))
	}
	if seen, _ := f.loop.last(); !seen.Whole {
		t.Error("one row may run apart")
	}
	splits.Store(false)
	if res = f.do("POST", "/v2/models/adder/infer", body("")); res.status != 400 || string(res.body) != text {
		t.Errorf("the model is not split: status %d: %s", res.status, res.body)
	}
	// The loop's own word, where the worker that takes so many is down.
	splits.Store(true)
	f.loop.set(func(*live.Request) error { return &live.Refusal{Reason: live.TooLarge} })
	if res = f.do("POST", "/v2/models/adder/infer", body("")); res.status != 400 || string(res.body) != text {
		t.Errorf("too large: status %d: %s", res.status, res.body)
	}
}
