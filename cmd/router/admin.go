package main

import (
	"fmt"
	"net"

	"motley/internal/config"
	"motley/internal/handover"
)

// listenAdmin opens the listener of those who run the router; nil where there is
// to be none.
func listenAdmin(sockets *handover.Sockets, cfg config.Admin) (net.Listener, error) {
	if cfg.Off() {
		return nil, nil
	}
	ln, err := sockets.Listen("admin", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for metrics, /debug and /admin: %w; name another address by -admin ADDR (off: none) or admin.listen", err)
	}
	return ln, nil
}

func closeAdmin(ln net.Listener) error {
	if ln == nil {
		return nil
	}
	return ln.Close()
}
