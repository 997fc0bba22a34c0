package config

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/tlstest"
)

// Who asks for certificates says who issues them, and the other way round.
func TestClientAuth(t *testing.T) {
	for fields, fault := range map[string]string{
		"":                                     "",
		"client_auth: none":                    "",
		"client_auth: required":                "tls.client_ca_file",
		"client_auth: optional":                "tls.client_ca_file",
		"client_ca_file: c":                    "",
		"client_ca_file: c, client_auth: none": "tls.client_auth",
		"client_ca_file: c, client_auth: optional": "",
		"min_version: '1.3'":                       "",
		"min_version: '1.0'":                       "tls.min_version",
	} {
		_, err := Parse("test", []byte(string(Default())+"tls: {cert_file: a, key_file: b, "+fields+"}\n"))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: %v, want a fault of %q", fields, err, fault)
		}
	}
}

// Load reads the certificates, so that a check finds those that cannot be used.
func TestLoadReadsCertificates(t *testing.T) {
	ours := tlstest.New(t)
	cert, key := ours.Issue("h")
	_, other := ours.Issue("h")
	dir := t.TempDir()
	path := filepath.Join(dir, "router.yaml")
	load := func(text string) (*Config, error) {
		if err := os.WriteFile(path, []byte(string(Default())+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(path)
	}
	c, err := load("tls: {cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + ours.CA + "}\n")
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.TLS.Config()
	if err != nil || made.ClientAuth != tls.RequireAndVerifyClientCert || made.MinVersion != tls.VersionTLS12 || !made.SessionTicketsDisabled || !c.TLS.Identifies() {
		t.Errorf("%+v, %v", made, err)
	}
	var invalid *Invalid
	for _, text := range []string{
		"tls: {cert_file: " + cert + ", key_file: " + other + "}\n",
		"tls: {cert_file: " + key + ", key_file: " + key + "}\n",
		"admin: {tls: {cert_file: " + cert + ", key_file: " + key + ", client_ca_file: " + key + "}}\n",
	} {
		if _, err := load(text); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "tls: cannot") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
