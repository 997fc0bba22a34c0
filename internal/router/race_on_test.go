//go:build race

package router

// raceEnabled: the race detector makes sync.Pool drop items at random.
const raceEnabled = true
