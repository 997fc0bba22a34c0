// Package access says who a client is, and what it may ask for: API keys, of
// which only hashes are kept, the tenants that they belong to, the models that
// they are for, and limits on requests and bytes.
//
// It has no clock: the time is an argument, from some fixed instant on. What is
// asked for every request takes no lock and allocates nothing.
package access

import (
	"cmp"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// Reason says why a request is not let in.
type Reason uint8

// The reasons.
const (
	Admitted   Reason = iota
	NoKey             // it shows no key, and needs one
	WrongKey          // it shows a key that is none
	Model             // the key is not for the model
	Rate              // too many requests of the key
	Concurrent        // too many under way
	Bytes             // too many bytes
)

var reasons = [...]string{"admitted", "no_key", "wrong_key", "model", "rate", "concurrent", "bytes"}

// Refusals are all reasons but Admitted.
func Refusals() []Reason { return []Reason{NoKey, WrongKey, Model, Rate, Concurrent, Bytes} }

// String names the reason as metrics do.
func (r Reason) String() string { return reasons[r] }

// Key is a client's.
type Key struct {
	Name   string
	Hash   Hash
	Tenant string   // empty: the default
	Models []string // that it may ask for; nil: all
	Limits
}

// Tenant is whom requests belong to.
type Tenant struct {
	Name     string
	Subjects []string // names of clients' certificates that stand for it
}

// Policy is who may do what.
type Policy struct {
	Keys      []Key
	Tenants   []Tenant // the first is the default, of those that nothing is known of
	Anonymous bool     // whether clients may do without a key
}

// Guard carries out a Policy. Make one with New; any goroutine may use it.
type Guard struct {
	policy   Policy
	keys     map[uint64][]*entry // by the first bytes of the hash
	tenants  map[string]int
	subjects map[string]int
}

// entry is a key in use.
type entry struct {
	hash            Hash
	tenant          int
	models          map[string]bool // nil: all
	limits          Limits
	requests, bytes pace
	meter           *meter
}

// New returns a guard of p. What keys have used of their limits is taken over
// from before, by their names; nil: nothing was used.
func New(p Policy, before *Guard) (*Guard, error) {
	if len(p.Tenants) == 0 {
		p.Tenants = []Tenant{{Name: "default"}}
	}
	g := &Guard{policy: p, keys: map[uint64][]*entry{}, tenants: map[string]int{}, subjects: map[string]int{}}
	for i, t := range p.Tenants {
		if _, ok := g.tenants[t.Name]; ok {
			return nil, fmt.Errorf("cannot guard: tenant %q is there twice", t.Name)
		}
		g.tenants[t.Name] = i
		for _, s := range t.Subjects {
			if _, ok := g.subjects[s]; ok {
				return nil, fmt.Errorf("cannot guard: certificates of %q stand for two tenants", s)
			}
			g.subjects[s] = i
		}
	}
	used := before.meters()
	names := map[string]bool{}
	for _, k := range p.Keys {
		tenant, ok := g.tenants[cmp.Or(k.Tenant, p.Tenants[0].Name)]
		switch {
		case names[k.Name]:
			return nil, fmt.Errorf("cannot guard: key %q is there twice", k.Name)
		case !ok:
			return nil, fmt.Errorf("cannot guard: key %q is of tenant %q, who is not there", k.Name, k.Tenant)
		case g.find(k.Hash) != nil:
			return nil, fmt.Errorf("cannot guard: key %q is another key as well", k.Name)
		}
		names[k.Name] = true
		e := &entry{
			hash: k.Hash, tenant: tenant, limits: k.Limits, meter: used[k.Name],
			requests: paceOf(k.Requests, float64(max(k.Burst, 1))), bytes: paceOf(k.Limits.Bytes, k.Limits.Bytes),
		}
		if e.meter == nil {
			e.meter = new(meter)
		}
		if k.Models != nil {
			e.models = make(map[string]bool, len(k.Models))
			for _, m := range k.Models {
				e.models[m] = true
			}
		}
		at := binary.BigEndian.Uint64(k.Hash[:])
		g.keys[at] = append(g.keys[at], e)
	}
	return g, nil
}

// meters returns what is used, by the keys' names.
func (g *Guard) meters() map[string]*meter {
	all := map[string]*meter{}
	if g != nil {
		for _, k := range g.policy.Keys {
			all[k.Name] = g.find(k.Hash).meter
		}
	}
	return all
}

// find returns the key of a hash, or nil. How long the map takes tells at most of
// the first bytes of hashes, of which no key can be made; the rest is compared in
// constant time.
func (g *Guard) find(h Hash) *entry {
	var found *entry
	for _, e := range g.keys[binary.BigEndian.Uint64(h[:])] {
		if subtle.ConstantTimeCompare(e.hash[:], h[:]) == 1 {
			found = e
		}
	}
	return found
}

// Tenants are the tenants' names, by index.
func (g *Guard) Tenants() []string {
	names := make([]string, len(g.policy.Tenants))
	for i, t := range g.policy.Tenants {
		names[i] = t.Name
	}
	return names
}

// TenantName is the name of one, by its index; empty: there are none.
func (g *Guard) TenantName(i int) string {
	if i >= len(g.policy.Tenants) {
		return ""
	}
	return g.policy.Tenants[i].Name
}

// Client is what a client shows of itself.
type Client struct {
	Key      []byte   // nil: none
	Subjects []string // of its certificate, verified
	Tenant   []byte   // that a proxy in front names; counts only where nothing else does
}

// Pass lets one request in. The zero Pass may do everything, as the first tenant.
type Pass struct {
	key    *entry // nil: no key was shown
	tenant int
	inside bool // admitted, and to leave
}

// Identify says who a client is.
func (g *Guard) Identify(c *Client) (Pass, Reason) {
	if c.Key != nil && len(g.policy.Keys) > 0 {
		if len(c.Key) > MaxKey {
			return Pass{}, WrongKey
		}
		e := g.find(HashOf(c.Key))
		if e == nil {
			return Pass{}, WrongKey
		}
		return Pass{key: e, tenant: e.tenant}, Admitted
	}
	for _, s := range c.Subjects {
		if t, ok := g.subjects[s]; ok {
			return Pass{tenant: t}, Admitted
		}
	}
	if !g.policy.Anonymous {
		return Pass{}, NoKey
	}
	return Pass{tenant: g.tenants[string(c.Tenant)]}, Admitted // 0 where it is not there
}

// Bars says why a client that shows this key, or none, is turned away whatever its
// certificate says; Admitted: it may not be.
func (g *Guard) Bars(key []byte) Reason {
	_, reason := g.Identify(&Client{Key: key})
	if reason == NoKey && len(g.subjects) > 0 {
		return Admitted
	}
	return reason
}

// Tenant is the index of the tenant.
func (p *Pass) Tenant() int { return p.tenant }

// May reports whether the client may ask for a model.
func (p *Pass) May(model string) bool {
	return p.key == nil || p.key.models == nil || p.key.models[model]
}

// Enter lets one inference request with so many bytes of body begin, or says
// why not, and how long it will be until one like it may where that is known.
// Whoever was let in Leaves.
func (p *Pass) Enter(bytes int, now time.Duration) (Reason, time.Duration) {
	if p.key == nil {
		return Admitted, 0
	}
	reason, wait := p.key.admit(bytes, now)
	p.inside = reason == Admitted
	return reason, wait
}

// Leave ends what Enter began, once; otherwise it does nothing.
func (p *Pass) Leave() {
	if p.inside {
		p.inside = false
		p.key.meter.inFlight.Add(-1)
	}
}
