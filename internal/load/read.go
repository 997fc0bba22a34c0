package load

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Reader takes what a stream holds, in its order.
type Reader interface {
	// Phase begins a phase. The error ends the reading.
	Phase(info *PhaseInfo) error
	// Record is of the phase that began last. It is not kept.
	Record(r *Record)
	// End says that the phase ran to its end.
	End()
}

// Read reads results in their raw form. A stream that was cut in the middle of
// a block gives what was whole, and then an error that is io.ErrUnexpectedEOF.
func Read(r io.Reader, to Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(in, head); err != nil || string(head[:7]) != magic[:7] {
		return errors.New("not results of bench load")
	}
	if head[7] != magic[7] {
		return fmt.Errorf("results of version %d, want %d", head[7], magic[7])
	}
	var block []byte
	var info *PhaseInfo
	for index := -1; ; {
		kind, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if block, err = readBlock(in, block); err != nil {
			return err
		}
		switch kind {
		case 'P':
			if info, err = parsePhase(block); err != nil {
				return err
			}
			index++
			if err := to.Phase(info); err != nil {
				return err
			}
		case 'R':
			if info == nil {
				return errors.New("records before any phase")
			}
			if err := readRecords(block, index, info, to); err != nil {
				return err
			}
		case 'E':
			if info != nil {
				to.End()
			}
		}
	}
}

func readBlock(in *bufio.Reader, block []byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, cutShort(err)
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > largestBlock {
		return nil, fmt.Errorf("a block of %d bytes", n)
	}
	if cap(block) < int(n) {
		block = make([]byte, n)
	}
	block = block[:n]
	if _, err := io.ReadFull(in, block); err != nil {
		return nil, cutShort(err)
	}
	return block, nil
}

// cutShort makes the end of a file in the middle of a block what it is.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parsePhase(text []byte) (*PhaseInfo, error) {
	p := new(PhaseInfo)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("cannot read a phase: %w", err)
	}
	const longest = int64(longestTime)
	if len(p.Models) == 0 || len(p.Models) > 256 || !(p.Rate >= 0 && p.Rate <= 1e9) || math.IsInf(p.Rate, 0) || p.Round < 0 ||
		p.QoSNS < 0 || p.WarmNS < 0 || p.SpanNS < 0 || p.QoSNS > longest || p.WarmNS > longest || p.SpanNS > longest {
		return nil, errors.New("a phase that makes no sense")
	}
	return p, nil
}

func readRecords(block []byte, index int, info *PhaseInfo, to Reader) error {
	if len(block)%recordSize != 0 {
		return fmt.Errorf("a block of %d bytes is no whole number of records", len(block))
	}
	for ; len(block) > 0; block = block[recordSize:] {
		r, err := parseRecord(block[:recordSize])
		if err != nil {
			return err
		}
		if int(r.Model) >= len(info.Models) {
			return fmt.Errorf("a record of model %d, where there are %d", r.Model, len(info.Models))
		}
		r.Phase = uint16(index)
		to.Record(&r)
	}
	return nil
}

// NewTally counts what becomes of the phase.
func (p *PhaseInfo) NewTally() *Tally {
	t := newTally(2 * time.Hour)
	t.qos, t.warm, t.span = time.Duration(p.QoSNS), time.Duration(p.WarmNS), time.Duration(p.SpanNS)
	return t
}
