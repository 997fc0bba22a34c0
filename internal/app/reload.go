package app

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/config"
	"motley/internal/live"
)

// reloaded are the parts of a configuration that Reload takes in, as a whole or as far as
// who prepares them says, or that nothing in a running router depends on. A change of any
// other is refused.
var reloaded = []string{"models", "instance_types", "profiles", "workers", "breaker", "plan", "reload", "tls", "access", "log", "tracing"}

// Reload takes in another configuration while the router serves: what changed is changed in
// place, and no request is lost. It does all of it or, on an error, nothing. It returns when
// the workers that are new have answered, or have had the time to: only then those
// that they replace, and those that are not there any more, leave.
func (a *App) Reload(cfg *config.Config) error {
	return a.reloadAs(func() (*config.Config, error) { return cfg, nil })
}

// reloadAs is Reload of what read returns, which is asked when no other change is under way:
// of two calls the later one counts.
func (a *App) reloadAs(read func() (*config.Config, error)) error {
	a.members.changing.Lock()
	defer a.members.changing.Unlock()
	err := live.ErrStopping
	if !a.members.closed {
		var cfg *config.Config
		if cfg, err = read(); err == nil {
			err = a.reload(cfg)
		}
	}
	a.reloads.note(err)
	return err
}

// reload is Reload. Nobody else changes anything meanwhile.
func (a *App) reload(cfg *config.Config) error {
	if err := unchangeable(a.members.past, cfg); err != nil {
		return fmt.Errorf("cannot reload: %w", err)
	}
	c, err := a.plan(cfg)
	if err != nil {
		return fmt.Errorf("cannot reload: %w", err)
	}
	var commits []func()
	for _, prepare := range a.preparers {
		commit, err := prepare(cfg)
		if err != nil {
			a.discard(c)
			return fmt.Errorf("cannot reload: %w", err)
		}
		commits = append(commits, commit)
	}
	a.commit(c)
	for _, commit := range commits {
		commit()
	}
	a.members.take(cfg)
	a.log.Info("the configuration is in effect", "workers_joined", len(c.joins), "workers_kept", len(c.standing)-len(c.joins), "workers_leaving", len(c.leaves),
		"models_new", len(c.models), "models_dropped", len(c.dropped))
	a.settle(c)
	return nil
}

// unchangeable names every part of a configuration that is another than before and cannot
// change while the router runs.
func unchangeable(old, now *config.Config) error {
	var errs []error
	refuse := func(field string) {
		errs = append(errs, fmt.Errorf("%s cannot change while the router runs", field))
	}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for i := range a.NumField() {
		name := yamlName(a.Type().Field(i))
		if name == "" || slices.Contains(reloaded, name) {
			continue
		}
		if name == "admin" || name == "limits" {
			continue
		}
		if at := differs(name, a.Field(i), b.Field(i)); at != "" {
			refuse(at)
		}
	}
	was, is := old.Admin, now.Admin
	was.TLS, is.TLS = nil, nil // prepareTLS looks at it
	if at := differs("admin", reflect.ValueOf(was), reflect.ValueOf(is)); at != "" {
		refuse(at)
	}
	if at := differs("limits", reflect.ValueOf(lasting(old.Limits)), reflect.ValueOf(lasting(now.Limits))); at != "" {
		refuse(at)
	}
	for i := range now.Models {
		m := &now.Models[i]
		at := fmt.Sprintf("models[%d]", i)
		was := modelNamed(old, m.Name)
		if was == nil {
			if m.Cascade != nil {
				refuse(at + ".cascade")
			}
			continue
		}
		if m.Cascade != nil && was.Cascade != nil {
			if d := differs(at, reflect.ValueOf(*was), reflect.ValueOf(*m)); d != "" {
				refuse(d)
			}
			continue
		}
		for _, f := range []struct {
			name    string
			was, is any
		}{{"cascade", was.Cascade, m.Cascade}, {"early_exit", was.EarlyExit, m.EarlyExit}, {"cost", was.Cost, m.Cost}} {
			if d := differs(at+"."+f.name, reflect.ValueOf(f.was), reflect.ValueOf(f.is)); d != "" {
				refuse(d)
			}
		}
		for _, t := range now.InstanceTypes {
			if typeNamed(old, t.Name) != nil && !slices.Equal(old.Points(m.Name, t.Name), now.Points(m.Name, t.Name)) {
				refuse(fmt.Sprintf("profiles: what is measured of %s on %s", m.Name, t.Name))
			}
		}
	}
	for _, m := range old.Models {
		if m.Cascade != nil && modelNamed(now, m.Name) == nil {
			refuse("models: the cascade " + m.Name)
		}
	}
	for i, t := range now.InstanceTypes {
		was := typeNamed(old, t.Name)
		if was == nil {
			continue
		}
		at := fmt.Sprintf("instance_types[%d]", i)
		switch {
		case was.Accelerator != t.Accelerator:
			refuse(at + ".accelerator")
		case was.Device != t.Device:
			refuse(at + ".device")
		case was.DeviceCount != t.DeviceCount:
			refuse(at + ".device_count")
		}
	}
	return errors.Join(errs...)
}

// lasting are the limits that count before the router's end.
func lasting(l config.Limits) config.Limits {
	l.DrainTimeout, l.ShutdownDelay, l.Linger = 0, 0, 0
	return l
}

// differs names the first part that is not the same in both; empty where all is.
func differs(at string, a, b reflect.Value) string {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return ""
	}
	if a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil() {
		a, b = a.Elem(), b.Elem()
	}
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			if name := yamlName(a.Type().Field(i)); name != "" {
				if d := differs(at+"."+name, a.Field(i), b.Field(i)); d != "" {
					return d
				}
			}
		}
	}
	return at
}

// yamlName is what a field is called in a file; empty where it is in none.
func yamlName(f reflect.StructField) string {
	if name := f.Tag.Get("yaml"); name != "-" {
		return name
	}
	return ""
}

func modelNamed(cfg *config.Config, name string) *config.Model {
	for i := range cfg.Models {
		if cfg.Models[i].Name == name {
			return &cfg.Models[i]
		}
	}
	return nil
}

func typeNamed(cfg *config.Config, name string) *config.InstanceType {
	for i := range cfg.InstanceTypes {
		if cfg.InstanceTypes[i].Name == name {
			return &cfg.InstanceTypes[i]
		}
	}
	return nil
}

// reloads counts what became of reloading.
type reloads struct {
	ended *prometheus.CounterVec
	good  prometheus.Gauge
	at    prometheus.Gauge
}

func newReloads(r prometheus.Registerer) *reloads {
	n := &reloads{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "motley_config_reloads_total", Help: "Times that the configuration was read again, by whether it took effect.",
		}, []string{"result"}),
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "motley_config_last_reload_successful", Help: "1 where the configuration that was read last is in effect, 0 where the one before it is.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "motley_config_last_reload_success_timestamp_seconds", Help: "When the configuration that is in effect was taken in.",
		}),
	}
	r.MustRegister(n.ended, n.good, n.at)
	n.ended.WithLabelValues("failed")
	n.ended.WithLabelValues("ok")
	n.good.Set(1)
	n.at.SetToCurrentTime()
	return n
}

// note counts one.
func (n *reloads) note(err error) {
	if err != nil {
		n.ended.WithLabelValues("failed").Inc()
		n.good.Set(0)
		return
	}
	n.ended.WithLabelValues("ok").Inc()
	n.good.Set(1)
	n.at.SetToCurrentTime()
}

// settleTime is how long workers that are new are waited for before others leave.
const settleTime = 10 * time.Second

// settle waits for the workers that have joined, offers what they serve, and lets those go
// that are not there any more.
func (a *App) settle(c *change) {
	timer := time.NewTimer(a.members.patience)
	defer timer.Stop()
	patient := true
	for _, s := range c.joins {
		if s.member == nil {
			continue // the router stops
		}
		if patient {
			select {
			case <-s.member.Up():
				continue
			case <-timer.C:
			case <-a.members.ctx.Done():
			}
			patient = false
		}
		select {
		case <-s.member.Up():
		default:
			a.log.Warn("a worker that is new has not answered yet: what it is to replace leaves nonetheless", "worker", s.Name)
			a.members.done.Go(func() { a.await(s) })
		}
	}
	a.offer()
	for _, s := range c.leaves {
		s.leave(c.cfg.Limits.DrainTimeout)
	}
}

// await offers what a worker serves when it has answered at last.
func (a *App) await(s *standing) {
	select {
	case <-s.member.Up():
	case <-s.member.Gone():
		return
	case <-a.members.ctx.Done():
		return
	}
	a.members.changing.Lock()
	defer a.members.changing.Unlock()
	if !a.members.closed {
		a.offer()
	}
}

// offer offers every model that has a worker, or had one before: one that never had would
// make the router as a whole not ready. Nobody else changes anything meanwhile.
func (a *App) offer() {
	a.members.offer(func(name string) bool {
		id, err := a.pool.ids.model(name)
		return err == nil && a.loop.ModelReady(id)
	})
	a.publishModels()
}
