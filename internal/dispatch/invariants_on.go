//go:build invariants || race

package dispatch

const checked = true
