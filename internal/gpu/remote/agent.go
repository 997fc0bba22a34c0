package remote

import (
	"context"
	"fmt"

	"motley/internal/gpu/device"
)

// Agent asks another host's `router agent` (/v1/devices). Ages are the agent's
// own, so that its clock may differ from ours.
type Agent struct{ opt Options }

// NewAgent returns a source; it asks nothing yet.
func NewAgent(opt Options) (*Agent, error) {
	opt, err := opt.withDefaults()
	return &Agent{opt}, err
}

// Read asks the agent.
func (a *Agent) Read(ctx context.Context) (device.Page, error) {
	data, err := a.opt.get(ctx)
	if err != nil {
		return device.Page{}, err
	}
	p, err := device.ParsePage(data)
	if err != nil {
		return device.Page{}, fmt.Errorf("cannot poll %s: %w", a.opt.URL, err)
	}
	return p, nil
}
