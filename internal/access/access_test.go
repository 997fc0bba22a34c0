package access

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var tenants = []Tenant{{Name: "default"}, {Name: "a", Subjects: []string{"client-a", "spiffe://x/a"}}, {Name: "b"}}

func guard(t testing.TB, p Policy, before *Guard) *Guard {
	t.Helper()
	g, err := New(p, before)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func key(name string, change func(*Key)) Key {
	k := Key{Name: name, Hash: HashOf([]byte("key of " + name))}
	if change != nil {
		change(&k)
	}
	return k
}

func TestIdentify(t *testing.T) {
	keys := []Key{
		key("plain", nil),
		key("of-a", func(k *Key) { k.Tenant = "a" }),
		key("of-b", func(k *Key) { k.Tenant, k.Models = "b", []string{"m"} }),
	}
	for _, c := range []struct {
		name      string
		keys      []Key
		anonymous bool
		client    Client
		reason    Reason
		tenant    int
		n         bool // may ask for model n
	}{
		{name: "a key", keys: keys, client: Client{Key: []byte("key of plain")}, n: true},
		{name: "a tenant's key", keys: keys, client: Client{Key: []byte("key of of-a")}, tenant: 1, n: true},
		{name: "a key for some models", keys: keys, client: Client{Key: []byte("key of of-b")}, tenant: 2},
		{name: "no key", keys: keys, reason: NoKey},
		{name: "no key, anonymous", keys: keys, anonymous: true, n: true},
		{name: "a wrong key", keys: keys, client: Client{Key: []byte("key of nobody")}, reason: WrongKey},
		{name: "a wrong key, anonymous", keys: keys, anonymous: true, client: Client{Key: []byte("key of nobody")}, reason: WrongKey},
		{name: "an empty key", keys: keys, anonymous: true, client: Client{Key: []byte{}}, reason: WrongKey},
		{name: "the hash for the key", keys: keys, client: Client{Key: []byte(keys[0].Hash.String())}, reason: WrongKey},
		{name: "too long a key", keys: keys, client: Client{Key: []byte(strings.Repeat("k", MaxKey+1))}, reason: WrongKey},
		{name: "a key where there are none", anonymous: true, client: Client{Key: []byte("EMPTY")}, n: true},
		{name: "a certificate", keys: keys, client: Client{Subjects: []string{"other", "client-a"}}, tenant: 1, n: true},
		{name: "a certificate of nobody", keys: keys, client: Client{Subjects: []string{"other"}}, reason: NoKey},
		{name: "a certificate of nobody, anonymous", keys: keys, anonymous: true, client: Client{Subjects: []string{"other"}}, n: true},
		{name: "a wrong key and a certificate", keys: keys, client: Client{Key: []byte("x"), Subjects: []string{"client-a"}}, reason: WrongKey},
		{name: "the key counts, not the certificate", keys: keys, client: Client{Key: []byte("key of of-b"), Subjects: []string{"client-a"}}, tenant: 2},
		{name: "the certificate counts, not the header", keys: keys, client: Client{Subjects: []string{"client-a"}, Tenant: []byte("b")}, tenant: 1, n: true},
		{name: "the key counts, not the header", keys: keys, client: Client{Key: []byte("key of plain"), Tenant: []byte("b")}, n: true},
		{name: "a header is no key", keys: keys, client: Client{Tenant: []byte("b")}, reason: NoKey},
		{name: "a header", keys: keys, anonymous: true, client: Client{Tenant: []byte("b")}, tenant: 2, n: true},
		{name: "a header of nobody", keys: keys, anonymous: true, client: Client{Tenant: []byte("c")}, n: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := guard(t, Policy{Keys: c.keys, Tenants: tenants, Anonymous: c.anonymous}, nil)
			p, reason := g.Identify(&c.client)
			if g.Bars(c.client.Key) != Admitted && reason == Admitted {
				t.Error("a client that is let in is barred")
			}
			if reason == WrongKey && g.Bars(c.client.Key) != WrongKey {
				t.Error("a client with a wrong key is not barred")
			}
			if reason != c.reason || p.Tenant() != c.tenant {
				t.Fatalf("%v, tenant %d; want %v, %d", reason, p.Tenant(), c.reason, c.tenant)
			}
			if reason == Admitted && (!p.May("m") || p.May("n") != c.n) {
				t.Errorf("may ask for m: %v, for n: %v; want true, %v", p.May("m"), p.May("n"), c.n)
			}
		})
	}
}

// A policy that contradicts itself is no policy.
func TestNewRefuses(t *testing.T) {
	for name, p := range map[string]Policy{
		"two tenants of one name": {Tenants: []Tenant{{Name: "a"}, {Name: "a"}}},
		"two of one certificate":  {Tenants: []Tenant{{Name: "a", Subjects: []string{"x"}}, {Name: "b", Subjects: []string{"x"}}}},
		"two keys of one name":    {Keys: []Key{key("k", nil), key("k", func(k *Key) { k.Hash[0]++ })}},
		"one key twice":           {Keys: []Key{key("k", nil), key("l", func(k *Key) { k.Hash = HashOf([]byte("key of k")) })}},
		"a tenant who is nobody":  {Keys: []Key{key("k", func(k *Key) { k.Tenant = "nobody" })}},
	} {
		if g, err := New(p, nil); err == nil || !strings.HasPrefix(err.Error(), "cannot guard: ") {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
}

// Keys of which the hashes begin alike are told apart.
func TestHashesThatBeginAlike(t *testing.T) {
	k := key("k", nil)
	near := k
	near.Name, near.Hash[31] = "near", k.Hash[31]^1
	g := guard(t, Policy{Keys: []Key{near, k}, Tenants: tenants}, nil)
	if e := g.find(k.Hash); e == nil || e.hash != k.Hash {
		t.Errorf("found %v", e)
	}
	far := k.Hash
	far[30] ^= 1
	if e := g.find(far); e != nil {
		t.Errorf("found %v", e)
	}
}

// A new policy takes over what keys have used, and what is under way is counted off
// where it was counted.
func TestPolicyReplaced(t *testing.T) {
	limit := func(rate float64, most int) Policy {
		return Policy{Tenants: tenants, Keys: []Key{key("k", func(k *Key) { k.Limits = Limits{Requests: rate, Burst: 1, Concurrent: most} })}}
	}
	client := &Client{Key: []byte("key of k")}
	first := guard(t, limit(1, 1), nil)
	p, _ := first.Identify(client)
	if r, _ := p.Enter(0, 0); r != Admitted {
		t.Fatal(r)
	}
	second := guard(t, limit(1, 1), first)
	q, _ := second.Identify(client)
	if r, _ := q.Enter(0, 5*time.Second); r != Concurrent {
		t.Errorf("%v while one is under way", r)
	}
	q.Leave() // was not let in
	p.Leave()
	p.Leave() // counts once
	if r, wait := q.Enter(0, 500*time.Millisecond); r != Rate || wait != 500*time.Millisecond {
		t.Errorf("%v, %v", r, wait)
	}
	third := guard(t, limit(1000, 2), second)
	q, _ = third.Identify(client)
	if r, _ := q.Enter(0, time.Second+time.Millisecond); r != Admitted {
		t.Errorf("%v with new limits", r)
	}
	q.Leave()
	if gone := guard(t, Policy{Tenants: tenants}, third); len(gone.meters()) != 0 {
		t.Error("a key that is gone is counted")
	}
	if n := third.meters()["k"].inFlight.Load(); n != 0 {
		t.Errorf("%d under way at the end", n)
	}
}

// Many at once get neither more nor less than their share, and all places are
// free in the end.
func TestMetersOfMany(t *testing.T) {
	const most, each, workers = 3, 2000, 8
	g := guard(t, Policy{Keys: []Key{key("k", func(k *Key) { k.Limits = Limits{Requests: 1, Burst: 1000, Concurrent: most} })}}, nil)
	client := &Client{Key: []byte("key of k")}
	var all sync.WaitGroup
	var admitted, inside, over atomic.Int64
	for range workers {
		all.Go(func() {
			for range each {
				p, _ := g.Identify(client)
				r, _ := p.Enter(0, 0)
				if r == Admitted {
					admitted.Add(1)
					if inside.Add(1) > most {
						over.Add(1)
					}
					runtime.Gosched()
					inside.Add(-1)
				}
				p.Leave()
			}
		})
	}
	all.Wait()
	if admitted.Load() != 1000 || over.Load() > 0 {
		t.Errorf("%d let in, want 1000; %d times more than %d at once", admitted.Load(), over.Load(), most)
	}
	if n := g.meters()["k"].inFlight.Load(); n != 0 {
		t.Errorf("%d under way at the end", n)
	}
}

func TestNoAllocation(t *testing.T) {
	g, client := busy(t)
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := g.Identify(&client)
		p.May("m")
		_, _ = p.Enter(100, time.Hour)
		p.Leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// busy is a guard of many keys with every limit.
func busy(t testing.TB) (*Guard, Client) {
	var keys []Key
	for i := range 1000 {
		keys = append(keys, key(fmt.Sprint(i), func(k *Key) {
			k.Models, k.Limits = []string{"m"}, Limits{Requests: 1e6, Burst: 1e6, Concurrent: 1e6, Bytes: 1e12}
		}))
	}
	return guard(t, Policy{Keys: keys, Tenants: tenants}, nil), Client{Key: []byte("key of 500")}
}

func BenchmarkRequest(b *testing.B) {
	g, client := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		p, _ := g.Identify(&client)
		p.May("m")
		_, _ = p.Enter(100, time.Hour)
		p.Leave()
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		k := NewKey()
		if len(k) != len("motley-")+43 || seen[k] {
			t.Fatalf("key %q", k)
		}
		seen[k] = true
		h, err := ParseHash(HashOf([]byte(k)).String())
		if err != nil || !h.Matches([]byte(k)) || h.Matches([]byte(k+"x")) || h.Matches(nil) {
			t.Fatalf("hash of %q: %v, %v", k, h, err)
		}
	}
}

// Every hash is read as it is written, and nothing else is one.
func FuzzParseHash(f *testing.F) {
	f.Add(HashOf(nil).String())
	f.Add("sha256:")
	f.Add("sha256:" + strings.Repeat("0", 63))
	f.Add("sha256:" + strings.Repeat("F", 64))
	f.Add("sha256:" + strings.Repeat("0", 66))
	f.Add("secret-key")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err == nil && !strings.EqualFold(h.String(), text) {
			t.Fatalf("%q is read as %v", text, h)
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Fatalf("the error repeats %q", text)
		}
	})
}
