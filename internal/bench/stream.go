package bench

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"motley/internal/earlyexit"
	"motley/internal/exitstream"
)

// loadStream reads a stream from a file and names it after it.
func loadStream(name string) (*exitstream.Stream, error) {
	var s *exitstream.Stream
	err := withFile(name, func(r io.Reader) (err error) {
		if s, err = exitstream.Read(r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.Name = streamName(name)
		return nil
	})
	return s, err
}

func streamName(file string) string {
	base := file[strings.LastIndexByte(file, '/')+1:]
	return strings.TrimSuffix(strings.TrimSuffix(base, ".gz"), ".csv")
}

// saveStream writes a stream to a file, whole or not at all.
func saveStream(s *exitstream.Stream, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".recording-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	write := s.Write
	if strings.HasSuffix(name, ".gz") {
		write = func(w io.Writer) error {
			z := gzip.NewWriter(w)
			return errors.Join(s.Write(z), z.Close())
		}
	}
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// right is the share of rows whose label the full model finds.
func right(s *exitstream.Stream) float64 {
	n := 0
	for i, l := range s.Labels {
		if s.Rows[i].Class == l {
			n++
		}
	}
	return float64(n) / float64(max(1, len(s.Labels)))
}

// agreements are, by ramp, the share of rows on which it agrees.
func agreements(s *exitstream.Stream) []float64 {
	shares := make([]float64, s.Ramps)
	for r := range shares {
		n := 0
		for i := range s.Rows {
			n += int(s.Rows[i].Agree >> r & 1)
		}
		shares[r] = float64(n) / float64(len(s.Rows))
	}
	return shares
}

// hostile is the stream with rows from … to−1 changed so that every ramp is
// wrong there with the confidence it had: nothing but the answers tells.
func hostile(s *exitstream.Stream, from, to int) *exitstream.Stream {
	h := *s
	h.Name = s.Name + "-hostile"
	h.Rows = make([]earlyexit.Outcome, len(s.Rows))
	h.Segments = []exitstream.Segment{{Name: "as it was"}, {Name: "hostile", From: from}, {Name: "as it was", From: to}}
	h.Labels = nil
	copy(h.Rows, s.Rows)
	classes := int32(s.Classes())
	for i := from; i < to; i++ {
		o := &h.Rows[i]
		o.Agree = 0
		o.Signals = append([]earlyexit.Signal(nil), o.Signals...)
		for r := range o.Signals {
			if g := &o.Signals[r]; g.Class >= 0 && o.Class >= 0 && classes > 1 {
				g.Class = (o.Class + 1 + (g.Class+classes-o.Class)%(classes-1)) % classes
			}
		}
	}
	return &h
}
