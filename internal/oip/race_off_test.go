//go:build !race

package oip

const raceDetector = false
