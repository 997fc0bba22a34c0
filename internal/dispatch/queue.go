package dispatch

import (
	"cmp"
	"sort"

	"motley/internal/mono"
)

// entry is one waiting request in its queue. The sort key is kept beside the
// slot so that searching does not touch the request table.
type entry struct {
	due      mono.Time // the deadline, or the arrival where the policy wants first come, first served
	seq      uint64
	priority int32
	slot     uint32
}

func (e entry) before(f entry) bool {
	if e.priority != f.priority {
		return e.priority < f.priority
	}
	if e.due != f.due {
		return e.due < f.due
	}
	return e.seq < f.seq
}

// compare is before for sorting.
func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.priority, f.priority), cmp.Compare(e.due, f.due), cmp.Compare(e.seq, f.seq))
}

// queue is a sorted sequence of waiting requests: highest priority first, then
// earliest due, then first come. Taking from the front and adding near the
// back, the usual cases, move nothing.
type queue struct {
	buf   []entry
	head  int // buf[head:] is the queue
	items int // sum of the sizes
}

func (q *queue) len() int { return len(q.buf) - q.head }

func (q *queue) at(i int) entry { return q.buf[q.head+i] }

// place is how many entries come before e.
func (q *queue) place(e entry) int {
	live := q.buf[q.head:]
	if n := len(live); n == 0 || live[n-1].before(e) {
		return n
	}
	return sort.Search(len(live), func(i int) bool { return e.before(live[i]) })
}

func (q *queue) insert(e entry, size int) {
	i := q.place(e)
	q.items += size
	if i == 0 && q.head > 0 {
		q.head--
		q.buf[q.head] = e
		return
	}
	if len(q.buf) == cap(q.buf) && q.head > len(q.buf)/2 {
		n := copy(q.buf, q.buf[q.head:])
		q.buf, q.head = q.buf[:n], 0
	}
	q.buf = append(q.buf, entry{})
	live := q.buf[q.head:]
	copy(live[i+1:], live[i:])
	live[i] = e
}

// remove takes e out; it must be in the queue.
func (q *queue) remove(e entry, size int) {
	live := q.buf[q.head:]
	i := 0
	if live[0] != e {
		i = sort.Search(len(live), func(i int) bool { return !live[i].before(e) })
	}
	if i == len(live) || live[i] != e {
		panic("BUG: a waiting request is not in its queue")
	}
	q.items -= size
	if i <= len(live)/2 {
		copy(live[1:i+1], live[:i])
		q.head++
	} else {
		copy(live[i:], live[i+1:])
		q.buf = q.buf[:len(q.buf)-1]
	}
	if q.head == len(q.buf) {
		q.buf, q.head = q.buf[:0], 0
	}
}
