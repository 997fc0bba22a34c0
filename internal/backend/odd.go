package backend

import (
	"sync/atomic"
	"time"
)

// oddFor is how long a server's answers are read in the old way after one that Start could not
// read: it may have been the last.
const oddFor = 30 * time.Second

// odd says whether a server's answers are to be read in the old way.
type odd struct{ until atomic.Int64 } // Unix time in ns; 0: no

func (o *odd) note() { o.until.Store(time.Now().Add(oddFor).UnixNano()) }

func (o *odd) now() bool {
	until := o.until.Load()
	if until == 0 {
		return false
	}
	if time.Now().UnixNano() < until {
		return true
	}
	o.until.CompareAndSwap(until, 0)
	return false
}
