//go:build !linux

package fleet

func newClock() (clock, error) { return newRuntimeClock(), nil }
