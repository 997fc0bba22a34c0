package load

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"motley/internal/mono"
)

// The raw form of results, all numbers little-endian. It begins with the 8
// bytes of magic, the last of which is the version. Blocks follow, each a byte
// for its kind and a uint32 for the number of bytes after it:
//
//	'P'  a phase: JSON, see PhaseInfo. The records after it are of it.
//	'R'  records of recordSize bytes each
//	'E'  the phase ended as planned; no bytes. It is missing where a phase was cut
//	     short: by hand, or since a search had seen enough
//
// Blocks of other kinds are left out by readers. A stream that was cut is read
// up to its last whole block.
const (
	magic        = "MOTLOAD\x01"
	recordSize   = 48
	largestBlock = 1 << 20
	longestTime  = 24 * 366 * time.Hour // that a reader takes
)

// PhaseInfo tells what a phase was.
type PhaseInfo struct {
	Target string   `json:"target"`
	Models []string `json:"models"` // by Record.Model
	Rate   float64  `json:"rate_qps"`
	Round  int      `json:"round"` // from 0
	// QoSNS is the target in ns, 0: none. WarmNS is the warm-up in ns, and SpanNS
	// how long was measured after it; 0: until a number of requests was through.
	QoSNS    int64  `json:"qos_ns"`
	WarmNS   int64  `json:"warm_ns"`
	SpanNS   int64  `json:"span_ns"`
	Arrivals string `json:"arrivals"`
	Seed     uint64 `json:"seed"`
	Start    string `json:"start"` // RFC 3339, with fractions of a second
}

// Stream writes results in their raw form.
type Stream struct {
	w   *bufio.Writer
	buf []byte
}

// NewStream begins a stream.
func NewStream(w io.Writer) (*Stream, error) {
	s := &Stream{w: bufio.NewWriterSize(w, 256<<10)}
	_, err := s.w.WriteString(magic)
	return s, err
}

// Phase begins the records of a phase.
func (s *Stream) Phase(p *Plan, ph Phase, qos time.Duration) error {
	info := PhaseInfo{
		Target: p.Targets[ph.Target].URL, Rate: ph.Rate, Round: ph.Round, QoSNS: int64(qos), WarmNS: int64(p.Warmup),
		Arrivals: p.Arrivals.String(), Seed: p.Seed, Start: time.Now().UTC().Format(time.RFC3339Nano),
	}
	for _, b := range p.Models {
		info.Models = append(info.Models, b.Model)
	}
	if p.Requests == 0 {
		info.SpanNS = int64(p.Duration)
	}
	text, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("cannot write the phase: %w", err)
	}
	return s.block('P', text)
}

// End says that the phase ran to its end.
func (s *Stream) End() error { return s.block('E', nil) }

// Add writes records of the phase.
func (s *Stream) Add(records []Record) error {
	s.buf = s.buf[:0]
	for i := range records {
		s.buf = records[i].append(s.buf)
	}
	return s.block('R', s.buf)
}

func (s *Stream) block(kind byte, data []byte) error {
	if len(data) > largestBlock {
		return fmt.Errorf("cannot write a block of %d bytes", len(data))
	}
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(data)))
	if _, err := s.w.Write(head); err != nil {
		return err
	}
	_, err := s.w.Write(data)
	return err
}

// Close writes what is buffered. The writer below is the caller's to close.
func (s *Stream) Close() error { return s.w.Flush() }

// Flags of a record.
const (
	flagWarm = 1 << iota
	flagLabelled
)

// append writes the record: At, Free, Sent and Done as int64 ns, Rows and Right
// as uint32, Status and a reserved 0 as uint16, Model, Outcome, Exit and the
// flags as bytes.
func (r *Record) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(r.At))
	dst = le.AppendUint64(dst, uint64(r.Free))
	dst = le.AppendUint64(dst, uint64(r.Sent))
	dst = le.AppendUint64(dst, uint64(r.Done))
	dst = le.AppendUint32(dst, r.Rows)
	dst = le.AppendUint32(dst, r.Right)
	dst = le.AppendUint16(dst, r.Status)
	dst = le.AppendUint16(dst, 0)
	flags := byte(0)
	if r.Warm {
		flags |= flagWarm
	}
	if r.Labelled {
		flags |= flagLabelled
	}
	return append(dst, r.Model, byte(r.Outcome), byte(r.Exit), flags)
}

// parseRecord reads what append wrote. b has recordSize bytes.
func parseRecord(b []byte) (Record, error) {
	le := binary.LittleEndian
	r := Record{
		At: mono.Time(le.Uint64(b)), Free: time.Duration(le.Uint64(b[8:])), Sent: time.Duration(le.Uint64(b[16:])), Done: time.Duration(le.Uint64(b[24:])),
		Rows: le.Uint32(b[32:]), Right: le.Uint32(b[36:]), Status: le.Uint16(b[40:]),
		Model: b[44], Outcome: Outcome(b[45]), Exit: int8(b[46]), Warm: b[47]&flagWarm != 0, Labelled: b[47]&flagLabelled != 0,
	}
	for _, d := range []time.Duration{time.Duration(r.At), r.Free, r.Sent, r.Done} {
		if d < 0 || d > longestTime {
			return r, errors.New("a time is out of range")
		}
	}
	if r.Outcome >= outcomes || r.Exit < -1 || r.Right > r.Rows || r.Done < r.Free || r.Sent > 0 && (r.Sent < r.Free || r.Sent > r.Done) {
		return r, errors.New("a record contradicts itself")
	}
	return r, nil
}
