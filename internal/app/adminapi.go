package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"motley/internal/admin"
	"motley/internal/config"
	"motley/internal/live"
)

// operator is the router as its operators change it.
type operator struct{ *App }

// AdminHandler answers operators, under /admin/.
func (a *App) AdminHandler() http.Handler { return admin.New(operator{a}) }

var _ admin.Router = operator{}

// Workers implements admin.Router.
func (o operator) Workers() []admin.Worker {
	all := []admin.Worker{}
	for _, s := range o.members.list() {
		all = append(all, o.describe(s))
	}
	return all
}

func (o operator) describe(s *standing) admin.Worker {
	w := admin.Worker{Name: s.Name, InstanceType: s.Type, Models: s.print.serves, Origin: "file", State: "gone"}
	if s.wasAdded() {
		w.Origin = "api"
	}
	if until := s.leavesBy(); !until.IsZero() {
		w.LeavesBy = &until
	}
	state := live.WorkerState{}
	if s.member != nil {
		var there bool
		w.Backend = s.member.Backend.Describe()
		if state, there = s.member.Report(); there {
			w.State = state.State
		}
	}
	w.Leaving = state.Leaving
	w.Breaker, w.Batches, w.BusyMS, w.Finished, w.Failures = state.Breaker, state.Batches, state.BusyMS, state.Finished, state.Failures
	return w
}

// DrainTimeout implements admin.Router.
func (o operator) DrainTimeout() time.Duration { return o.members.configuration().Limits.DrainTimeout }

// errStopping is told while the router stops.
var errStopping = admin.Errorf(http.StatusServiceUnavailable, "the router is stopping")

// change has f change the membership, which nobody else does meanwhile.
func (o operator) change(f func() error) error {
	o.members.changing.Lock()
	defer o.members.changing.Unlock()
	if o.members.closed {
		return errStopping
	}
	return f()
}

// Add implements admin.Router.
func (o operator) Add(entry []byte) (made []admin.Worker, err error) {
	err = o.change(func() error {
		whole := o.members.configuration()
		with, err := whole.With("worker", entry)
		if err != nil {
			return refused(err)
		}
		one := *with
		one.Workers = with.Workers[len(whole.Workers):]
		var joins []*standing
		for _, w := range one.Expand(cpus()) {
			s := &standing{Worker: w, print: printOf(with, &w), added: true}
			if s.joined, err = o.pool.join(with, o.pool.ids, &s.Worker, o.log); err != nil {
				o.discardJoins(joins)
				return admin.Errorf(http.StatusBadRequest, "%v", err)
			}
			joins = append(joins, s)
		}
		for _, s := range joins {
			o.enter(s)
			made = append(made, o.describe(s))
			o.log.Info("a worker was added", "worker", s.Name)
		}
		o.members.set(whole, append(o.members.list(), joins...))
		return nil
	})
	return made, err
}

// refused is the error of a worker that is not as it must be.
func refused(err error) error {
	var bad *config.Invalid
	if !errors.As(err, &bad) {
		return admin.Errorf(http.StatusBadRequest, "%v", err)
	}
	e := &admin.Error{Status: http.StatusBadRequest}
	var texts []string
	for _, v := range bad.Violations {
		if v.Field == "name" && strings.HasPrefix(v.Problem, "is already the name of ") {
			e.Status = http.StatusConflict
		}
		texts = append(texts, v.String())
		e.Violations = append(e.Violations, admin.Violation{Field: v.Field, Value: v.Value, Problem: v.Problem})
	}
	e.Message = strings.Join(texts, "; ")
	return e
}

// Remove implements admin.Router.
func (o operator) Remove(name string, within time.Duration) (w admin.Worker, err error) {
	err = o.change(func() error {
		s := o.members.named(name)
		if s == nil {
			return admin.NoWorker(name)
		}
		left := slices.DeleteFunc(o.members.list(), func(x *standing) bool { return x == s })
		for _, m := range s.print.serves {
			if !slices.ContainsFunc(left, func(x *standing) bool { return slices.Contains(x.print.serves, m) }) {
				return admin.Errorf(http.StatusConflict, "no other worker serves %s: drain this one, or take the model out of the configuration", m)
			}
		}
		o.members.set(o.members.configuration(), left)
		s.leave(within)
		o.log.Info("a worker was removed", "worker", name, "within", within)
		w = o.describe(s)
		return nil
	})
	return w, err
}

// Drain implements admin.Router. It does not wait for a change under way: a host that is
// taken away does not, either.
func (o operator) Drain(name string, within time.Duration) (admin.Worker, error) {
	s := o.members.named(name)
	if s == nil {
		return admin.Worker{}, admin.NoWorker(name)
	}
	s.leave(within)
	o.log.Info("a worker is drained", "worker", name, "within", within)
	return o.describe(s), nil
}

// Undrain implements admin.Router.
func (o operator) Undrain(name string) (w admin.Worker, err error) {
	err = o.change(func() error {
		s := o.members.named(name)
		if s == nil {
			return admin.NoWorker(name)
		}
		if s.leavesBy().IsZero() {
			w = o.describe(s)
			return nil
		}
		if s.stay() {
			o.watchSpot(s)
		} else {
			again := &standing{Worker: s.Worker, print: s.print, added: s.wasAdded()}
			if again.joined, err = o.pool.join(o.members.configuration(), o.pool.ids, &again.Worker, o.log); err != nil {
				return fmt.Errorf("cannot undrain: %w", err)
			}
			o.enter(again)
			all := o.members.list()
			all[slices.Index(all, s)] = again
			o.members.set(o.members.configuration(), all)
			s = again
		}
		o.log.Info("a worker is drained no more", "worker", name)
		w = o.describe(s)
		return nil
	})
	return w, err
}

// Reload implements admin.Router.
func (o operator) Reload() error {
	err := o.ReloadFile()
	var bad *config.Invalid
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoFile):
		return admin.Errorf(http.StatusConflict, "%v", err)
	case errors.As(err, &bad):
		return refused(err)
	}
	return admin.Errorf(http.StatusConflict, "%v", err)
}

// Configuration implements admin.Router.
func (o operator) Configuration() ([]byte, error) {
	text, err := yaml.Marshal(o.members.configuration())
	if err != nil {
		return nil, fmt.Errorf("cannot tell the configuration: %w", err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("cannot tell the configuration: %w", err)
	}
	return json.Marshal(redacted(tree))
}

// secret are the fields whose values are told to nobody.
var secret = []string{"key", "secret", "password", "token"}

// redacted leaves out secrets: values of fields that are called so and of headers, and
// queries of URLs.
func redacted(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		for name, value := range v {
			headers, ok := value.(map[string]any)
			text, isText := value.(string)
			switch {
			case isText && text != "" && slices.Contains(secret, name):
				v[name] = "(secret)"
			case ok && name == "headers": // they say who the router is
				for h := range headers {
					headers[h] = "(secret)"
				}
			default:
				v[name] = redacted(value)
			}
		}
	case []any:
		for i := range v {
			v[i] = redacted(v[i])
		}
	case string:
		if at := strings.IndexByte(v, '?'); at >= 0 && strings.HasPrefix(v, "http") {
			return v[:at] + "?(secret)"
		}
	}
	return tree
}
