package backend

import (
	"net"
	"slices"

	"motley/internal/http1"
	"motley/internal/reactor"
)

// lane is a server's connections of one reactor; it belongs to the reactor's
// goroutine. In use at once are no more than the pool allows to all.
type lane struct {
	remote *Remote
	loop   *reactor.Loop
	idle   []*sock // the youngest last
}

// laneOn is the lane of a reactor.
func (r *Remote) laneOn(on *reactor.Loop) *lane {
	if l, ok := on.Value(r).(*lane); ok {
		return l
	}
	l := &lane{remote: r, loop: on}
	on.SetValue(r, l)
	r.mu.Lock()
	r.mu.lanes = append(r.mu.lanes, l)
	r.mu.Unlock()
	return l
}

func (r *Remote) closeLanes() {
	r.mu.Lock()
	lanes := r.mu.lanes
	r.mu.lanes = nil
	r.mu.Unlock()
	for _, l := range lanes {
		l.loop.Post(laneEnd{l})
	}
}

// laneEnd closes what is idle, and has the reactor forget the lane.
type laneEnd struct{ *lane }

func (e laneEnd) Run() {
	e.closeIdle()
	e.loop.SetValue(e.remote, nil)
}

func (l *lane) add(fd int) (*sock, error) {
	s := &sock{lane: l, fd: fd}
	var err error
	if s.place, err = l.loop.Add(fd, s); err != nil {
		reactor.CloseSocket(fd)
		return nil, err
	}
	return s, nil
}

// pop takes the connection that was used last, so that the others grow old and
// are closed. One on which something has come is of no use: it would be taken for the
// answer to what is sent next.
func (l *lane) pop() *sock {
	for {
		n := len(l.idle)
		if n == 0 {
			return nil
		}
		s := l.idle[n-1]
		if l.loop.Now()-s.since > int64(l.remote.pool.maxIdle) {
			l.closeIdle() // the others are older
			return nil
		}
		l.idle[n-1] = nil
		l.idle = l.idle[:n-1]
		if reactor.Quiet(s.fd) {
			return s
		}
		s.close()
	}
}

func (l *lane) push(s *sock) {
	s.flight, s.reused, s.since = nil, true, l.loop.Coarse()
	if cap(s.in) > maxKept {
		s.in = nil
	}
	l.idle = append(l.idle, s)
}

// maxKept is the largest buffer that an idle connection keeps, in bytes.
const maxKept = 64 << 10

func (l *lane) closeIdle() {
	for _, s := range l.idle {
		s.close()
	}
	clear(l.idle)
	l.idle = l.idle[:0]
}

// sock is a connection to a server that a reactor watches.
type sock struct {
	lane    *lane
	fd      int
	place   int32
	flight  *Flight // nil while it is idle
	reused  bool    // it has carried an exchange before
	since   int64   // idle: since when, on the loop's clock
	out     []byte  // the request's head, and a small body
	left    [2][]byte
	in      []byte // of the answer, where it did not come in one piece
	reply   http1.Reply
	got     int  // bytes of the answer
	interim int  // answers that came before it
	ended   bool // the server sends no more than what is there
}

// send sends f's request.
func (s *sock) send(f *Flight) {
	s.flight, s.got, s.interim, s.reply, s.in = f, 0, 0, http1.Reply{}, s.in[:0]
	s.out, s.left[1] = f.remote.appendQuery(s.out[:0], f.remote.inferQuery(f.model, f.msg, f.x.lead))
	s.left[0] = s.out
	s.write()
}

// write sends what is left. What breaks is seen when the answer is read: a
// server that refuses a large request answers before it has read all of it.
func (s *sock) write() {
	n, _ := reactor.Write(s.fd, s.left[0], s.left[1])
	k := min(n, len(s.left[0]))
	s.left[0], s.left[1] = s.left[0][k:], s.left[1][n-k:]
}

// Ready implements reactor.Handler.
func (s *sock) Ready(e reactor.Event) {
	if s.flight == nil {
		if e&reactor.Readable != 0 { // the server closed it, or says what nobody asked for
			if i := slices.Index(s.lane.idle, s); i >= 0 {
				s.lane.idle = slices.Delete(s.lane.idle, i, i+1)
				s.close()
			}
		}
		return
	}
	s.ended = s.ended || e&reactor.Ended != 0
	if e&reactor.Writable != 0 && len(s.left[0])+len(s.left[1]) > 0 {
		s.write()
	}
	if e&reactor.Readable != 0 {
		s.read()
	}
}

// read reads the answer, or what has come of it.
func (s *sock) read() {
	for {
		buf, at := s.lane.loop.Scratch, len(s.in)
		if at > 0 {
			s.in = slices.Grow(s.in, max(4<<10, min(s.reply.Body+s.reply.Length-at, trustLength)))
			buf = s.in[at:cap(s.in)]
		}
		n, err := reactor.Read(s.fd, buf)
		if err == reactor.ErrWouldBlock {
			return
		}
		if err != nil {
			s.flight.broken(err)
			return
		}
		s.got += n
		b := buf[:n]
		if at > 0 {
			s.in = s.in[:at+n]
			b = s.in
		}
		most := s.lane.remote.cfg.MaxResponse
		end, err := s.reply.Parse(b, most)
		for err == nil && end > 0 && s.reply.Status < 200 && s.reply.Status != 101 && s.interim < 8 {
			s.interim++
			b, s.reply = b[end:], http1.Reply{}
			if at > 0 {
				s.in = s.in[:copy(s.in, b)]
				b = s.in
			}
			end, err = s.reply.Parse(b, most)
		}
		switch r := &s.reply; {
		case err != nil || r.Body > 0 && (r.Encoded || r.Status < 200):
			s.flight.takeOver(s, b)
		case end == 0:
			if at == 0 {
				s.in = append(s.in, b...)
			}
			if n < len(buf) && !s.ended {
				return
			}
			continue
		default:
			reuse := end == len(b) && !r.HangUp && !s.ended && len(s.left[0])+len(s.left[1]) == 0
			s.flight.arrived(s, r.Status, r.HeadLength, r.Content(b, end), reuse)
		}
		return
	}
}

// Tick implements reactor.Handler.
func (s *sock) Tick(now int64) {
	switch f := s.flight; {
	case f != nil && now >= f.deadline:
		f.fail(&Error{Class: Timeout, Status: 504, Message: "the worker did not answer in time"})
	case f == nil && now-s.since > int64(s.lane.remote.pool.maxIdle):
		if i := slices.Index(s.lane.idle, s); i >= 0 {
			s.lane.idle = slices.Delete(s.lane.idle, i, i+1)
			s.close()
		}
	}
}

func (s *sock) close() {
	s.lane.loop.Remove(s.fd, s.place)
	reactor.CloseSocket(s.fd)
	s.flight = nil
	s.left = [2][]byte{}
}

func detach(nc net.Conn) (int, error) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		_ = nc.Close()
		return -1, errNotTCP
	}
	return reactor.Detach(tc)
}
