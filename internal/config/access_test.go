package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"motley/internal/access"
)

var someHash = access.HashOf([]byte("k")).String()

// What is written is what package access is told, and the defaults with it.
func TestAccessPolicy(t *testing.T) {
	hash := access.HashOf([]byte("k"))
	other := access.HashOf([]byte("l"))
	for _, c := range []struct {
		text string
		want access.Policy
	}{
		{"{}", access.Policy{Anonymous: true, Tenants: []access.Tenant{{Name: "default"}}}},
		{"{anonymous: deny}", access.Policy{Tenants: []access.Tenant{{Name: "default"}}}},
		{fmt.Sprintf("{keys: [{name: a, hash: %q}]}", hash), access.Policy{
			Tenants: []access.Tenant{{Name: "default"}},
			Keys:    []access.Key{{Name: "a", Hash: hash, Limits: access.Limits{Burst: 1}}},
		}},
		{fmt.Sprintf("{anonymous: allow, tenants: [{name: gold, subjects: [s]}, {name: default, weight: 3}], keys: [{name: a, hash: %q, tenant: gold, models: [fashion], "+
			"requests_per_second: 7.5, concurrent: 2, bytes_per_second: 1MiB}, {name: b, hash: %q, requests_per_second: 0.5, burst: 9, tenant: default}]}", hash, other), access.Policy{
			Anonymous: true,
			Tenants:   []access.Tenant{{Name: "default"}, {Name: "gold", Subjects: []string{"s"}}},
			Keys: []access.Key{
				{Name: "a", Hash: hash, Tenant: "gold", Models: []string{"fashion"}, Limits: access.Limits{Requests: 7.5, Burst: 7, Concurrent: 2, Bytes: 1 << 20}},
				{Name: "b", Hash: other, Tenant: "default", Limits: access.Limits{Requests: 0.5, Burst: 9}},
			},
		}},
	} {
		cfg, err := Parse("test", []byte(string(Default())+"access: "+c.text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Access.Policy(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.text, got, c.want)
		}
		if _, err := access.New(cfg.Access.Policy(), nil); err != nil {
			t.Error(err)
		}
	}
}

// A policy that passes the checks can be carried out; faults do not repeat what
// stands in the place of a hash.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("- {name: a, hash: \"" + someHash + "\", requests_per_second: 3}\n"))
	f.Add([]byte("- {name: a, hash: motley-supersecret}\n- motley-supersecret\n"))
	f.Add([]byte("motley-supersecret"))
	f.Add([]byte("- {name: a, hash: [motley-supersecret], concurrent: motley-supersecret}"))
	f.Add([]byte("- &a {name: b, hash: \"" + strings.ToUpper(someHash) + "\"}\n- *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, faults, err := parseKeys(data)
		if err != nil || len(faults) > 0 {
			if text := fmt.Sprint(err, faults); strings.Contains(text, ": motley-supersecret") {
				t.Fatalf("told: %s", text)
			}
			return
		}
		cfg, err := Parse("test", Default())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Access = Access{Filed: list, KeysFile: "keys.yaml"}
		if found := cfg.Validate(); len(found) > 0 {
			for _, k := range list {
				if h := string(k.Hash); len(h) > 16 && !strings.Contains(k.Name+k.Tenant+strings.Join(k.Models, " "), h) && strings.Contains(fmt.Sprint(found), h) {
					t.Fatalf("told: %v", found)
				}
			}
			return
		}
		if _, err := access.New(cfg.Access.Policy(), nil); err != nil {
			t.Fatalf("%v of %+v", err, list)
		}
	})
}
