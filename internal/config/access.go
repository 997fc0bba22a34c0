package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"motley/internal/access"
)

// Access says who may ask for what.
type Access struct {
	Keys         []AccessKey `yaml:"keys"`
	KeysFile     string      `yaml:"keys_file"`     // more keys, a YAML list of the same form; absolute after Load
	Anonymous    string      `yaml:"anonymous"`     // one of anonymities; empty: deny where there are keys, else allow
	Tenants      []Tenant    `yaml:"tenants"`       // besides, or with, that of requests of nobody in particular: DefaultTenant
	TenantHeader string      `yaml:"tenant_header"` // in which a proxy names the tenant; empty: none

	// Filed are the keys that KeysFile holds; Load reads them.
	Filed []AccessKey `yaml:"-"`
}

// AccessKey is a client's key, of which only the hash is known.
type AccessKey struct {
	Name              string   `yaml:"name"`
	Hash              Secret   `yaml:"hash"`                // as router key prints it
	Tenant            string   `yaml:"tenant"`              // empty: the default
	Models            []string `yaml:"models"`              // empty: all
	RequestsPerSecond float64  `yaml:"requests_per_second"` // 0: no limit
	Burst             int      `yaml:"burst"`               // requests at once; 0: a second's worth, at least 1
	Concurrent        int      `yaml:"concurrent"`          // under way at once; 0: no limit
	BytesPerSecond    Size     `yaml:"bytes_per_second"`    // of bodies; 0: no limit
}

// Tenant is whom requests belong to.
type Tenant struct {
	Name     string   `yaml:"name"`
	Weight   float64  `yaml:"weight"`   // of its share when there is not enough for all
	Subjects []string `yaml:"subjects"` // names of clients' certificates that stand for it
}

// DefaultTenant is that of requests of which nobody says whose they are.
const DefaultTenant = "default"

const (
	maxRate       = 1_000_000.0
	minByteRate   = 1 << 10
	maxConcurrent = 1_000_000
)

var anonymities = []string{"allow", "deny"}

func (t *Tenant) setDefaults() { t.Weight = 1 }

// All are the keys of the configuration and of its file.
func (a *Access) All() []AccessKey { return slices.Concat(a.Keys, a.Filed) }

// On reports whether anybody is told from anybody else.
func (a *Access) On() bool {
	return len(a.Keys) > 0 || a.KeysFile != "" || len(a.Tenants) > 0 || a.Anonymous == "deny"
}

// AllTenants are the tenants by index: the default first, with weight 1 unless it is
// named.
func (a *Access) AllTenants() []Tenant {
	all := []Tenant{{Name: DefaultTenant, Weight: 1}}
	for _, t := range a.Tenants {
		if t.Name == DefaultTenant {
			all[0] = t
		} else {
			all = append(all, t)
		}
	}
	return all
}

// Policy is what package access makes of it. The configuration was checked.
func (a *Access) Policy() access.Policy {
	p := access.Policy{Anonymous: a.Anonymous == "allow" || a.Anonymous == "" && len(a.Keys) == 0 && a.KeysFile == ""}
	for _, t := range a.AllTenants() {
		p.Tenants = append(p.Tenants, access.Tenant{Name: t.Name, Subjects: t.Subjects})
	}
	for _, k := range a.All() {
		h, _ := access.ParseHash(string(k.Hash))
		one := access.Key{Name: k.Name, Hash: h, Tenant: k.Tenant, Limits: access.Limits{
			Requests: k.RequestsPerSecond, Burst: k.Burst, Concurrent: k.Concurrent, Bytes: float64(k.BytesPerSecond),
		}}
		if one.Burst == 0 {
			one.Burst = max(int(k.RequestsPerSecond), 1)
		}
		if len(k.Models) > 0 {
			one.Models = k.Models
		}
		p.Keys = append(p.Keys, one)
	}
	return p
}

func (c *Config) checkAccess(f *faults) {
	a := &c.Access
	if a.Anonymous != "" {
		oneOf(f, "access.anonymous", a.Anonymous, anonymities)
	}
	if a.TenantHeader != "" && !goodHeader(a.TenantHeader) {
		f.add("access.tenant_header", a.TenantHeader, "must be the name of a header: letters, digits and dashes")
	}
	tenants, subjects := []string{DefaultTenant}, map[string]bool{}
	first := map[string]int{}
	for i, t := range a.Tenants {
		at := fmt.Sprintf("access.tenants[%d]", i)
		name(f, at+".name", t.Name, first, i, "access.tenants")
		tenants = append(tenants, t.Name)
		if !(t.Weight > 0 && t.Weight <= 1e6) { // the negation catches NaN
			f.add(at+".weight", t.Weight, "must be over 0, to 1,000,000")
		}
		for j, s := range t.Subjects {
			if field := fmt.Sprintf("%s.subjects[%d]", at, j); s == "" {
				f.add(field, s, "must be a name of a certificate")
			} else if subjects[s] {
				f.add(field, s, "given twice")
			}
			subjects[s] = true
		}
	}
	names, hashes := map[string]bool{}, map[Secret]bool{}
	for i := range a.Keys {
		c.checkKey(f, fmt.Sprintf("access.keys[%d]", i), &a.Keys[i], tenants, names, hashes)
	}
	filed := &faults{source: &c.source}
	for i := range a.Filed {
		c.checkKey(filed, fmt.Sprintf("[%d]", i), &a.Filed[i], tenants, names, hashes)
	}
	for _, v := range filed.list {
		f.add("access.keys_file", a.KeysFile, "%s", v)
	}
}

// checkKey checks one key. Its hash is in no fault: it may be the key itself that
// stands there.
func (c *Config) checkKey(f *faults, at string, k *AccessKey, tenants []string, names map[string]bool, hashes map[Secret]bool) {
	switch {
	case !goodName(k.Name):
		f.add(at+".name", k.Name, "must be 1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or digit")
	case names[k.Name]:
		f.add(at+".name", k.Name, "is already the name of another key")
	}
	names[k.Name] = true
	lower := Secret(strings.ToLower(string(k.Hash)))
	if _, err := access.ParseHash(string(k.Hash)); err != nil {
		f.add(at+".hash", nil, "%s", err)
	} else if hashes[lower] {
		f.add(at+".hash", nil, "is that of another key")
	}
	hashes[lower] = true
	if k.Tenant != "" && !slices.Contains(tenants, k.Tenant) {
		f.add(at+".tenant", k.Tenant, "must be one of access.tenants%s", nearest(k.Tenant, tenants))
	}
	var models []string
	for _, m := range c.Models {
		models = append(models, m.Name)
	}
	for j, m := range k.Models {
		if !slices.Contains(models, m) {
			f.add(fmt.Sprintf("%s.models[%d]", at, j), m, "must be one of models%s", nearest(m, models))
		}
	}
	if r := k.RequestsPerSecond; r != 0 && !(r >= 0.001 && r <= maxRate) {
		f.add(at+".requests_per_second", r, "must be 0 (no limit), or from 0.001 to 1,000,000")
	}
	within(f, at+".burst", k.Burst, 0, maxConcurrent)
	if k.Burst > 0 && k.RequestsPerSecond == 0 {
		f.add(at+".burst", k.Burst, "is for keys with requests_per_second")
	}
	within(f, at+".concurrent", k.Concurrent, 0, maxConcurrent)
	if b := k.BytesPerSecond; b != 0 && (b < minByteRate || b > maxBody) {
		f.add(at+".bytes_per_second", b, "must be 0 (no limit), or from %v to %v", Size(minByteRate), maxBody)
	}
}

// goodHeader holds a header's name to its plainest form.
func goodHeader(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return len(s) <= 128
}

// openKeys reads the file of keys.
func (a *Access) openKeys(f *faults, from func(string) string) {
	if a.KeysFile == "" {
		return
	}
	written := a.KeysFile
	a.KeysFile = from(written)
	list, problems, err := readKeys(a.KeysFile)
	if err != nil {
		f.add("access.keys_file", written, "%s", reason(err))
	}
	for _, v := range problems {
		f.add("access.keys_file", written, "line %d: %s", v.Line, v)
	}
	a.Filed = list
}

// readKeys reads a list of keys as the configuration has it.
func readKeys(path string) ([]AccessKey, []Violation, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxFile {
		return nil, nil, fmt.Errorf("has %d bytes: at most %d", info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return parseKeys(data)
}

// parseKeys reads such a list. Nothing of its values is in what it says.
func parseKeys(data []byte) ([]AccessKey, []Violation, error) {
	var root yaml.Node
	if err := parse(data, &root); err != nil {
		return nil, nil, errors.New("not YAML") // whose text would repeat what is there
	}
	var list []AccessKey
	if len(root.Content) == 0 {
		return nil, nil, nil // no keys yet
	}
	d := &decoder{faults: faults{source: &source{lines: map[string]int{}}}}
	d.value(root.Content[0], "", reflect.ValueOf(&list).Elem())
	for i := range d.list {
		d.list[i].Value = "" // it may be a key
	}
	return list, d.list, nil
}
