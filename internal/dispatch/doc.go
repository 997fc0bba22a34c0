// Package dispatch decides which worker runs which requests, when, and
// together with which others. It is a state machine: events go in with their
// instants, actions come out, and whoever drives it does the I/O. Package sim
// and package live drive the very same code.
//
// A Core is not safe for concurrent use. It reads no clock, starts no
// goroutine and takes no lock; the same events give the same actions, byte for
// byte. Simultaneous events are to be stepped in the order (time, kind,
// sequence).
//
// Estimates come from pool.Profile alone; the core learns from what it is told
// (Finish events) and never from what a driver knows beforehand.
package dispatch
