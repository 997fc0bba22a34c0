// Package chaos breaks things on purpose. It runs a router and emulated workers
// as processes of their own, sends requests by the clock, each with rows that no
// other request has, injures the processes, the network between them or the
// router's disk and clock meanwhile, and judges afterwards: every request has
// exactly one outcome, every answer has the rows of its own request, the router's
// books agree with the clients', nothing is left over, and goodput is back soon.
//
// What is done, and when, follows from a seed. How the processes' threads
// interleave does not, so a seed repeats the injuries and not each outcome. The
// scenarios are this package's tests; docs/chaos.md says how to run them.
package chaos
