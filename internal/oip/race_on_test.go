//go:build race

package oip

// raceDetector: under it slices.Grow makes what it appends, an allocation more.
const raceDetector = true
