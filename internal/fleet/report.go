package fleet

import "time"

// Report is what a worker has done.
type Report struct {
	Worker, Type     string
	Requests, Failed uint64 // executed; answered with an error, or not at all
	Rows, Executions uint64
	Busy             float64       // share of the time since the start, of all slots
	Wait             time.Duration // in the queue, mean over requests
	Faults           []string      // "kind=N"
}

// Report tells what each worker has done since the start.
func (f *Fleet) Report() []Report {
	now := time.Now()
	all := make([]Report, len(f.servers))
	for i, s := range f.servers {
		r := &all[i]
		*r = Report{Worker: s.name, Type: s.kind, Faults: s.faults.counts()}
		s.queue.mu.Lock()
		var queued time.Duration
		for k := range s.queue.mu.tally {
			t := &s.queue.mu.tally[k]
			r.Requests += t.requests
			r.Failed += t.failed
			r.Rows += t.rows
			r.Executions += t.executions
			queued += t.queued
		}
		r.Busy = float64(s.queue.mu.busy) / float64(now.Sub(f.began)) / float64(s.slots)
		s.queue.mu.Unlock()
		if r.Requests > 0 {
			r.Wait = queued / time.Duration(r.Requests)
		}
	}
	return all
}

// Lateness is by how much executions have ended later than was drawn for them,
// up to the moment when the answer is handed to the HTTP server: a quantile over
// all requests.
func (f *Fleet) Lateness(q float64) time.Duration { return f.late.quantile(q) }
