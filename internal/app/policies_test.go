package app

import (
	"context"
	"slices"
	"testing"
	"time"

	"motley/internal/config"
	"motley/internal/dispatch"
)

// What a configuration may name is what there is, and serves one client that
// sends a request after the other.
func TestPolicies(t *testing.T) {
	if !slices.Equal(config.Policies, dispatch.Policies()) {
		t.Errorf("configurations may name %v, and there are %v", config.Policies, dispatch.Policies())
	}
	for _, policy := range append(slices.Clone(config.Policies), "size-threshold=8") {
		t.Run(policy, func(t *testing.T) {
			cfg := learner(t, "")
			cfg.Policy, cfg.Learned.Interval = policy, time.Minute
			if len(cfg.Validate()) > 0 {
				t.Fatal(cfg.Validate())
			}
			s := serveConfig(t, cfg, Options{})
			for range 5 {
				if a, err := infer(s.client(1), "m", -1, []byte(oneRow)); err != nil || a.status != 200 {
					t.Errorf("%d, %v: %s", a.status, err, a.body)
				}
			}
		})
	}
	cfg := learner(t, "")
	cfg.Policy = "size-threshold=x"
	if a, err := New(cfg, Options{Log: quiet()}); err == nil {
		t.Errorf("made a router with policy %s", cfg.Policy)
		_ = a.Close(context.Background())
	}
}
