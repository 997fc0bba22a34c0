package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// ServerTLS is what a listener speaks TLS by. Paths are absolute after Load.
type ServerTLS struct {
	CertFile     string `yaml:"cert_file"`      // PEM, the leaf first
	KeyFile      string `yaml:"key_file"`       // PEM
	ClientCAFile string `yaml:"client_ca_file"` // PEM: who may issue clients' certificates
	ClientAuth   string `yaml:"client_auth"`    // one of clientAuths; empty: required with ClientCAFile, else none
	MinVersion   string `yaml:"min_version"`    // one of tlsVersions
}

// RemoteTLS is how a worker behind https is known, and how the router shows
// who it is. Paths are absolute after Load.
type RemoteTLS struct {
	CAFile     string `yaml:"ca_file"`     // PEM certificates to trust; empty = the system's
	CertFile   string `yaml:"cert_file"`   // PEM, the router's own certificate; empty: none
	KeyFile    string `yaml:"key_file"`    // PEM
	ServerName string `yaml:"server_name"` // that the worker's certificate must be of; empty = the URL's host
}

var (
	clientAuths = []string{"none", "optional", "required"}
	tlsVersions = []string{"1.2", "1.3"}
)

func (t *ServerTLS) setDefaults() { t.MinVersion = "1.2" }

func (t *ServerTLS) check(f *faults, at string) {
	for _, file := range []struct{ name, value string }{{"cert_file", t.CertFile}, {"key_file", t.KeyFile}} {
		if file.value == "" {
			f.add(at+"."+file.name, file.value, "must name a PEM file")
		}
	}
	if t.ClientAuth != "" {
		oneOf(f, at+".client_auth", t.ClientAuth, clientAuths)
	}
	switch asks := t.ClientAuth == "optional" || t.ClientAuth == "required"; {
	case asks && t.ClientCAFile == "":
		f.add(at+".client_ca_file", t.ClientCAFile, "must name the certificates that clients' are issued by, where client_auth asks for them")
	case t.ClientAuth == "none" && t.ClientCAFile != "":
		f.add(at+".client_auth", t.ClientAuth, "must be optional or required where there is a client_ca_file")
	}
	oneOf(f, at+".min_version", t.MinVersion, tlsVersions)
}

// open makes the paths independent of the configuration's directory, and reads
// what they name.
func (t *ServerTLS) open(f *faults, at string, from func(string) string) {
	openFile(&t.CertFile, from)
	openFile(&t.KeyFile, from)
	openFile(&t.ClientCAFile, from)
	if t.CertFile == "" || t.KeyFile == "" {
		return // Validate refuses it
	}
	if _, err := t.Config(); err != nil {
		f.add(at, nil, "%s", err)
	}
}

// Config reads the files and is the TLS that they make. Clients' certificates
// are verified by every handshake: with them no session is resumed, so that
// nobody outlives a change of ClientCAFile.
func (t *ServerTLS) Config() (*tls.Config, error) {
	pair, err := readPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if t.ClientCAFile == "" {
		return c, nil
	}
	c.ClientAuth, c.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, true
	if t.ClientAuth == "optional" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	c.ClientCAs, err = readCertificates(t.ClientCAFile)
	return c, err
}

// Identifies reports whether every client of the listener shows a certificate.
func (t *ServerTLS) Identifies() bool {
	return t != nil && t.ClientCAFile != "" && t.ClientAuth != "optional"
}

func (t *RemoteTLS) check(f *faults, at string) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		f.add(at, nil, "must have both cert_file and key_file, or none")
	}
}

func (t *RemoteTLS) open(f *faults, at string, from func(string) string) {
	openFile(&t.CAFile, from)
	openFile(&t.CertFile, from)
	openFile(&t.KeyFile, from)
	if _, err := t.Config(); err != nil {
		f.add(at, nil, "%s", err)
	}
}

// Config reads the files and is the TLS that they make. The worker's name is
// always verified; whoever calls sets it where ServerName is empty.
func (t *RemoteTLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	var err error
	if t.CAFile != "" {
		if c.RootCAs, err = readCertificates(t.CAFile); err != nil {
			return nil, err
		}
	}
	if t.CertFile != "" && t.KeyFile != "" {
		pair, err := readPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// openFile makes a path independent of the configuration's directory.
func openFile(path *string, from func(string) string) {
	if *path != "" {
		*path = from(*path)
	}
}

// readPair reads a certificate and its key. Nothing of the key gets into an error.
func readPair(cert, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("cannot use certificate %s with key %s: %w", cert, key, err)
	}
	return pair, nil
}

func readCertificates(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("cannot read certificates: %s has none in PEM", path)
	}
	return pool, nil
}
