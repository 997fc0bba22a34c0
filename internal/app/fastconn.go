package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"time"
)

// handshakeTime bounds a client's handshake.
const handshakeTime = 10 * time.Second

// listenFast is listen for a server that knows nothing of TLS.
func (t *serverTLS) listenFast(ln net.Listener) net.Listener {
	if t == nil {
		return ln
	}
	return fastListener{t.listen(ln), ln}
}

type fastListener struct {
	net.Listener
	beneath net.Listener
}

// Beneath implements router.Layered.
func (l fastListener) Beneath() net.Listener { return l.beneath }

// Accept implements net.Listener.
func (l fastListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &fastConn{Conn: c.(*tls.Conn)}, nil
}

// fastConn is a client's connection of which the handshake is done by the first
// Read, which the server does on the connection's own goroutine.
type fastConn struct {
	*tls.Conn
	shaken   bool
	subjects []string
}

// Subjects implements router.Identified: the common name, DNS names and URIs of
// the client's certificate.
func (c *fastConn) Subjects() []string { return c.subjects }

func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	if leaf.Subject.CommonName != "" {
		names = append(names, leaf.Subject.CommonName)
	}
	return names
}

var errUnshaken = errors.New("nothing can be written before the handshake")

// Read implements net.Conn.
func (c *fastConn) Read(p []byte) (int, error) {
	if !c.shaken {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		defer cancel()
		if err := c.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		c.shaken = true
		if chains := c.ConnectionState().VerifiedChains; len(chains) > 0 {
			c.subjects = namesOf(chains[0][0])
		}
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn. It makes no handshake: a connection that is turned
// away is written to by the goroutine that accepts.
func (c *fastConn) Write(p []byte) (int, error) {
	if !c.ConnectionState().HandshakeComplete {
		return 0, errUnshaken
	}
	return c.Conn.Write(p)
}
