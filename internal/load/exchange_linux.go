package load

import (
	"golang.org/x/sys/unix"

	"motley/internal/http1"
)

// fire sends a request over an idle connection.
func (l *loop) fire(c *conn, x shot) {
	c.bodies = l.plan.Models[x.model]
	rows, labels := c.bodies.build(&c.out, l.prefixes[x.model], x)
	c.labels, c.left = labels, c.out.parts
	c.reply, c.in = http1.Reply{}, c.in[:0]
	c.rec = Record{
		At: x.at, Free: max(0, c.since.Sub(x.at)), Rows: uint32(rows),
		Phase: uint16(l.phase), Model: uint8(x.model), Exit: -1, Warm: x.warm,
	}
	l.busy.push(c)
	l.write(c)
	c.fresh = false
}

func (l *loop) write(c *conn) {
	done, err := c.write()
	if err != nil {
		l.fail(c, Reset)
		return
	}
	if c.rec.Sent == 0 { // how long the rest takes is for the server to decide
		c.rec.Sent = l.now().Sub(c.rec.At)
	}
	if done == c.blocked {
		c.blocked = !done
		l.rewatch(c)
	}
}

// handle takes what came over a connection.
func (l *loop) handle(c *conn, events uint32) {
	switch {
	case c.on == &l.opening:
		if err := dialed(c.fd); err != nil {
			l.lastErr = err
			l.shut(c)
			return
		}
		c.blocked = false
		l.rewatch(c)
		c.since = l.now()
		l.idle.push(c)
		return
	case c.on == &l.busy && events&unix.EPOLLOUT != 0:
		if l.write(c); c.on != &l.busy {
			return
		}
	}
	if events&^unix.EPOLLOUT != 0 {
		l.read(c)
	}
}

// read takes bytes of an answer.
func (l *loop) read(c *conn) {
	n, err := unix.Read(c.fd, l.scratch)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if c.on != &l.busy { // an idle connection that was closed, or speaks unasked
		l.shut(c)
		return
	}
	if err != nil || n <= 0 {
		l.fail(c, Reset)
		return
	}
	b := l.scratch[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	end, err := c.reply.Parse(b, maxBody)
	for err == nil && end > 0 && end < len(b) && c.reply.Status < 200 { // an interim answer
		b = b[end:]
		c.reply = http1.Reply{}
		end, err = c.reply.Parse(b, maxBody)
	}
	switch {
	case err != nil || end > 0 && (end < len(b) || c.reply.Status < 200 || len(c.left) > 0 && c.reply.Status < 300):
		l.fail(c, Garbled)
	case end == 0:
		if len(c.in) == 0 || &b[0] != &c.in[0] {
			c.in = append(c.in[:0], b...)
		}
	default:
		l.done(c, b, end)
	}
}

// done ends a request with the answer that b holds.
func (l *loop) done(c *conn, b []byte, end int) {
	now := l.now()
	rec, r := &c.rec, &c.reply
	rec.Done = now.Sub(rec.At)
	rec.Status = uint16(r.Status)
	switch {
	case r.Status != 200:
		rec.Outcome = Status
	case !l.plan.Unchecked:
		exit := -1
		rec.Outcome, exit = l.check.judge(c.bodies, r.Content(b, end), r.HeadLength, int(rec.Rows))
		if exit < 0 {
			exit = r.Exit
		}
		rec.Exit = int8(exit)
		if rec.Outcome == OK && c.labels != nil {
			right := 0
			if right, rec.Labelled = l.check.right(c.labels); rec.Labelled {
				rec.Right = uint32(right)
			}
		}
	}
	l.add(*rec)
	if r.HangUp || len(c.left) > 0 {
		l.shut(c)
		return
	}
	c.since = now
	if cap(c.in) > 64<<10 { // a large answer's memory is not kept with every connection
		c.in = nil
	}
	l.idle.push(c)
}

// fail ends a request without an answer.
func (l *loop) fail(c *conn, why Outcome) {
	c.rec.Outcome = why
	c.rec.Done = l.now().Sub(c.rec.At)
	if c.rec.Sent == 0 {
		c.rec.Sent = c.rec.Done
	}
	l.add(c.rec)
	c.fresh = false
	l.shut(c)
}

// maxBody is the largest body of an answer that is read, in bytes.
const maxBody = 256 << 20
