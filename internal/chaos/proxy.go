package chaos

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is what a proxy does to what passes it. Shares are of the reads from
// either side, 0 to 1; each is decided by lot when it comes.
type Plan struct {
	Delay, Jitter time.Duration // each read waits that long, and up to Jitter more
	Stall         float64       // from this read on nothing passes in its direction, and the connection stays open
	Cut           float64       // a part of the read passes, by lot, and both connections are reset
	End           float64       // the same, with an orderly end
	Refuse        bool          // new connections are reset at once
	Chunk         int           // at most so many bytes are passed on at once, 0: any number
}

// Proxy passes TCP connections on to a server, and injures them by a plan that
// may change at any time. What it draws follows from its seed, the number of the
// connection and the direction.
type Proxy struct {
	ln     net.Listener
	target string
	seed   uint64
	plan   atomic.Pointer[Plan]
	done   chan struct{}
	once   sync.Once // of Close
	ended  sync.WaitGroup

	mu struct {
		sync.Mutex
		open   map[net.Conn]struct{}
		closed bool
	}
	injured atomic.Int64
}

// NewProxy listens on an address for connections to the target.
func NewProxy(address, target string, seed uint64) (*Proxy, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, target: target, seed: seed, done: make(chan struct{})}
	p.plan.Store(&Plan{})
	p.mu.open = map[net.Conn]struct{}{}
	p.ended.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.ln.Addr().String() }

// Set puts a plan in place of the one there is.
func (p *Proxy) Set(plan Plan) { p.plan.Store(&plan) }

// Injured is how many reads or connections were stalled, cut or refused.
func (p *Proxy) Injured() int { return int(p.injured.Load()) }

// Sever resets all connections.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.mu.open {
		reset(c)
	}
}

// Close stops it. To do so again is no error.
func (p *Proxy) Close() (err error) {
	p.once.Do(func() {
		err = p.ln.Close()
		p.mu.Lock()
		p.mu.closed = true
		p.mu.Unlock()
		close(p.done)
		p.Sever()
		p.ended.Wait()
	})
	return err
}

// reset closes a connection in such a way that the other side gets a reset.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close() // it may be closed already
}

// note keeps a connection until the function that it returns is called. It
// reports false once the proxy is closed.
func (p *Proxy) note(c net.Conn) (forget func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		reset(c)
		return nil, false
	}
	p.mu.open[c] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.mu.open, c)
		_ = c.Close()
	}, true
}

func (p *Proxy) accept() {
	for n := uint64(0); ; n++ {
		c, err := p.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if p.plan.Load().Refuse {
			p.injured.Add(1)
			reset(c)
			continue
		}
		p.ended.Go(func() { p.serve(c, n) })
	}
}

func (p *Proxy) serve(c net.Conn, n uint64) {
	forget, ok := p.note(c)
	if !ok {
		return
	}
	defer forget()
	s, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		reset(c)
		return
	}
	forgetServer, ok := p.note(s)
	if !ok {
		return
	}
	defer forgetServer()
	var both sync.WaitGroup
	both.Go(func() { p.pass(s, c, rand.New(rand.NewPCG(p.seed, 2*n))) })
	both.Go(func() { p.pass(c, s, rand.New(rand.NewPCG(p.seed, 2*n+1))) })
	both.Wait()
}

// pass copies in one direction.
func (p *Proxy) pass(to, from net.Conn, rng *rand.Rand) {
	buf := make([]byte, 32<<10)
	stalled := false
	for {
		n, err := from.Read(buf)
		if stalled {
			n = 0 // lost on the way
		}
		plan := p.plan.Load()
		stall, cut, end, spot, more := rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()
		if n > 0 {
			p.wait(plan.Delay + time.Duration(more*float64(plan.Jitter)))
			switch {
			case stall < plan.Stall:
				p.injured.Add(1)
				stalled = true
				continue
			case cut < plan.Cut, end < plan.End:
				p.injured.Add(1)
				_, _ = to.Write(buf[:int(spot*float64(n))])
				if cut < plan.Cut {
					reset(to)
					reset(from)
				}
				_ = to.Close()
				_ = from.Close()
				return
			}
			if !p.write(to, buf[:n], plan) {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			if tcp, ok := to.(*net.TCPConn); ok && !errors.Is(err, net.ErrClosed) {
				_ = tcp.CloseWrite() // the other direction may go on
			}
			return
		}
	}
}

func (p *Proxy) write(to net.Conn, b []byte, plan *Plan) bool {
	for len(b) > 0 {
		n := len(b)
		if plan.Chunk > 0 {
			n = min(n, plan.Chunk)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
		if len(b) > 0 {
			p.wait(plan.Delay)
		}
	}
	return true
}

// wait waits, or until the proxy is closed.
func (p *Proxy) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.done:
	}
}
