package live

import (
	"time"

	"motley/internal/gpu/device"
)

// WorkerHealth is how far one worker can be relied on, and why; a part of
// /debug/pool.
type WorkerHealth struct {
	Name        string   `json:"name"`
	Type        string   `json:"instance_type"`
	State       string   `json:"state"`             // starting, up, draining, down
	Leaving     bool     `json:"leaving,omitempty"` // it is to go
	Health      string   `json:"health"`            // ok, derated, suspect, unhealthy, gone
	SinceS      float64  `json:"since_s"`           // how long it has been in that state
	Slowdown    float64  `json:"slowdown"`
	Uncertainty float64  `json:"uncertainty"`
	Ramp        float64  `json:"ramp"`
	Takes       bool     `json:"takes"`       // new work
	Recommended string   `json:"recommended"` // none, derate, drain, restart, replace
	Stale       bool     `json:"stale"`       // its telemetry has stopped
	Evidence    []string `json:"evidence"`
	// Used is what routing goes by, in coarser steps.
	Used         UsedHealth `json:"used"`
	Batches      int        `json:"batches"`       // that were compared with the profile
	ProfileError float64    `json:"profile_error"` // mean relative error of the estimate, lately

	Telemetry      string         `json:"telemetry"`        // where it comes from; empty: there is none
	TelemetryError string         `json:"telemetry_error"`  // why the last attempt failed
	Device         *device.Device `json:"device"`           // null while unknown
	SampleAgeS     *float64       `json:"sample_age_s"`     // null where there is none
	Sample         *device.Sample `json:"sample,omitempty"` // the last one
}

// UsedHealth is what the dispatcher was told.
type UsedHealth struct {
	Slowdown    float64 `json:"slowdown"`
	Uncertainty float64 `json:"uncertainty"`
	Ramp        float64 `json:"ramp"`
	Takes       bool    `json:"takes"`
}

// Health returns how far every worker can be relied on; nil where nobody judges.
// It allocates; call it for people.
func (l *Loop) Health() []WorkerHealth {
	c := l.clinic
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []WorkerHealth{}
	l.mu.Lock()
	now, table := l.now(), l.table.Load()
	var members []*Member
	for i := range c.mu.heard {
		if m := c.mu.heard[i].member; m != nil {
			members = append(members, m)
			all = append(all, WorkerHealth{State: l.mu.core.Worker(m.id).State.String(), Leaving: m.leaving})
		}
	}
	l.mu.Unlock()
	for i, m := range members {
		r, h := c.mu.ward.Report(now, m.id), &all[i]
		h.Name, h.Type = m.Worker.Name, table.types[m.Worker.Type].Name
		h.Health, h.SinceS = r.State.String(), now.Sub(r.Since).Seconds()
		h.Slowdown, h.Uncertainty, h.Ramp, h.Takes = r.Slowdown, r.Uncertainty, r.Ramp, r.Takes()
		h.Recommended, h.Stale, h.Evidence = r.Action.String(), r.Stale, append([]string{}, r.Evidence...)
		h.Used = UsedHealth{r.Told.Slowdown, r.Told.Uncertainty, r.Told.Ramp, r.Told.Takes}
		h.Batches, h.ProfileError = r.Batches, r.ProfileError
		if m.Telemetry != nil {
			h.Telemetry = m.Telemetry.String()
			if err := c.mu.heard[m.id].err; err != nil {
				h.TelemetryError = err.Error()
			}
		}
		if r.Device.ID != "" {
			h.Device = &r.Device
		}
		if r.Age >= 0 {
			age := r.Age.Seconds()
			r.Sample.Age = time.Duration(age * float64(time.Second))
			h.SampleAgeS, h.Sample = &age, &r.Sample
		}
	}
	return all
}
