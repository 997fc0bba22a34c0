//go:build !linux || !amd64

package chaos

import "testing"

func TestClockStepped(t *testing.T) {
	long(t)
	t.Skip("NOT RUN: the clock of a process can only be stepped on Linux with x86-64 processors")
}
