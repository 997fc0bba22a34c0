package config

import "motley/internal/access"

// Admin is the listener for those who run the router: metrics, /debug, /admin.
type Admin struct {
	Listen  string     `yaml:"listen"`   // host:port; "off" or empty: there is none
	PProf   bool       `yaml:"pprof"`    // /debug/pprof/ too
	KeyHash Secret     `yaml:"key_hash"` // of the key that requests must have; empty: none. As router key prints it
	TLS     *ServerTLS `yaml:"tls"`      // nil = plain HTTP
}

func (a *Admin) setDefaults() { a.Listen = "127.0.0.1:8002" }

// Off reports whether there is no such listener.
func (a *Admin) Off() bool { return a.Listen == "" || a.Listen == "off" }

func (a *Admin) check(f *faults) {
	if !a.Off() {
		address(f, "admin.listen", a.Listen)
	}
	if _, err := access.ParseHash(string(a.KeyHash)); a.KeyHash != "" && err != nil {
		f.add("admin.key_hash", nil, "%s", err)
	}
	if a.TLS != nil {
		a.TLS.check(f, "admin.tls")
	}
}
