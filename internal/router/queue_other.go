//go:build !linux

package router

import "net"

// emptyQueue does nothing.
func emptyQueue(*net.TCPListener) {}
