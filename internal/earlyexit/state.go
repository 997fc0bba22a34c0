package earlyexit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// The saved form: magic, version, length of the payload, payload, checksum of
// all before it; integers little-endian. Whatever changes what the payload
// holds changes the version.
const (
	stateMagic   = "motley-exits\n"
	stateVersion = 1
	stateHead    = len(stateMagic) + 2 + 4
	stateTail    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendState appends all that was learned to dst, for Load. What is in flight
// is not part of it.
func (a *Adaptive) AppendState(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, stateMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	c := coder{data: dst}
	a.code(&c)
	dst = c.data
	head := dst[from:]
	binary.LittleEndian.PutUint32(head[stateHead-4:], uint32(len(head)-stateHead))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(head, castagnoli))
}

// Load continues from what AppendState wrote, of a controller with the same
// ramps, mode, target, window and number of batch sizes. On an error a is as it was.
func (a *Adaptive) Load(data []byte) error {
	if err := a.load(data); err != nil {
		return fmt.Errorf("cannot load the state of an early-exit controller: %w", err)
	}
	return nil
}

func (a *Adaptive) load(data []byte) error {
	if len(data) < stateHead {
		if len(data) >= len(stateMagic) && string(data[:len(stateMagic)]) != stateMagic {
			return errForeign
		}
		return fmt.Errorf("torn: %d bytes are too few", len(data))
	}
	if string(data[:len(stateMagic)]) != stateMagic {
		return errForeign
	}
	if v := binary.LittleEndian.Uint16(data[len(stateMagic):]); v != stateVersion {
		return fmt.Errorf("foreign: version %d, want %d", v, stateVersion)
	}
	want := stateHead + int(binary.LittleEndian.Uint32(data[stateHead-4:])) + stateTail
	if len(data) != want {
		return fmt.Errorf("torn: %d bytes, want %d", len(data), want)
	}
	body := data[:want-stateTail]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[want-stateTail:]) {
		return errors.New("torn: the checksum does not match")
	}
	fresh, err := New(a.cfg)
	if err != nil {
		return err
	}
	c := coder{data: body[stateHead:], load: true}
	fresh.code(&c)
	if c.err == nil && len(c.data) > 0 {
		c.fail("foreign: %d bytes too many", len(c.data))
	}
	if c.err == nil {
		c.err = fresh.settle()
	}
	if c.err != nil {
		return c.err
	}
	*a = *fresh
	return nil
}

var errForeign = errors.New("foreign: it does not begin as one does")

// settle checks a loaded state for what the rest relies on and computes what
// follows from it.
func (a *Adaptive) settle() error {
	if a.control.next < 0 || a.control.next >= len(a.control.ring) || a.near.next < 0 || a.near.next >= remembered ||
		a.turn < 0 || a.turn >= len(a.sets) || a.account.top < 0 || a.account.top > classSlots ||
		a.safe.left < 0 || !(a.account.least > 0 && a.account.least <= 1) || a.tau < 0 {
		return errors.New("foreign: a number is out of range")
	}
	for i, s := range a.sets {
		if uint64(s)>>len(a.ramps) != 0 || !a.allowed(s, i) { // the budget may have changed
			a.sets[i] = spread(len(a.ramps), func(s uint32) bool { return a.allowed(s, i) })
		}
	}
	for _, b := range a.kept.bins {
		if b >= bins {
			return errors.New("foreign: a number is out of range")
		}
	}
	a.weigh()
	return nil
}

// code writes or reads everything but what follows from the configuration.
func (a *Adaptive) code(c *coder) {
	c.must("ramps", len(a.ramps))
	c.must("mode", int(a.cfg.Mode))
	c.must("window", len(a.control.ring))
	c.must("target, millionths", int(math.Round(a.cfg.Target*1e6)))
	c.must("batch sizes", len(a.sets))
	for r := range a.ramps {
		a.ramps[r].code(c)
	}
	for j := range a.near.rows {
		n := &a.near.rows[j]
		c.u32(&n.seen)
		c.u32(&n.agree)
		c.i32(&n.final)
		c.singles(n.odds[:len(a.ramps)])
		for r := range a.ramps {
			c.i32(&n.class[r])
		}
	}
	c.integer(&a.near.next)
	c.i32(&a.answer)
	c.vector(a.mix.risk[:])
	c.floats(&a.control.x, &a.control.sum, &a.audits.tokens, &a.proof.n, &a.proof.k)
	c.singles(a.control.ring)
	c.integer(&a.control.next)
	c.vector(a.proof.capital[:])
	a.changes.code(c)
	c.integer(&a.safe.left)
	c.integer(&a.safe.rows)
	c.floats(&a.safe.expected, &a.safe.lost, &a.tau, &a.price)
	c.vector(a.classes[:])
	a.account.code(c)
	for i := range a.sets {
		c.u32(&a.sets[i])
	}
	c.singles(a.kept.risks)
	for i := range a.kept.bins {
		b := uint32(a.kept.bins[i])
		c.u32(&b)
		a.kept.bins[i] = uint8(min(b, 255))
	}
	c.singles(a.kept.weight[:])
	c.u64(&a.kept.n)
	c.integer(&a.turn)
	c.u64(&a.most)
}

func (p *ramp) code(c *coder) {
	c.vector(p.model.w[:])
	for i := range p.model.p {
		c.vector(p.model.p[i][:])
	}
	c.vector(p.curve.n[:])
	c.vector(p.curve.k[:])
	c.vector(p.curve.o[:])
	c.vector(p.curve.at[:])
	c.vector(p.curve.curve[:])
	c.integer(&p.curve.since)
	c.vector(p.ahead[:])
	for i := range p.classes {
		c.floats(&p.classes[i].n, &p.classes[i].k)
	}
	c.floats(&p.all.n, &p.all.k, &p.recent)
}

func (l *alarm) code(c *coder) {
	c.vector(l.usual[:])
	c.vector(l.now[:])
	c.floats(&l.usualN, &l.capital, &l.last, &l.mean, &l.square, &l.product, &l.skip)
}

func (t *account) code(c *coder) {
	for _, v := range []*uint64{&t.seen, &t.exited, &t.audited, &t.lost, &t.alarms} {
		c.u64(v)
	}
	c.floats(&t.disagreed, &t.squares, &t.least)
	c.integer(&t.top)
	for i := range t.ramps {
		r := &t.ramps[i]
		c.u64(&r.Seen)
		c.u64(&r.Exited)
		c.u64(&r.Audited)
		c.floats(&r.Disagreed)
	}
	for i := range t.classes {
		k := &t.classes[i]
		c.u64(&k.Seen)
		c.u64(&k.Exited)
		c.floats(&k.Disagreed)
	}
}
