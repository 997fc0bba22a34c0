package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"motley/internal/earlyexit"
	"motley/internal/engine"
	"motley/internal/exitstream"
	"motley/internal/oip"
	"motley/internal/planner"
)

// Recorder is the command `bench record`: it runs a built-in model with all its
// ramps over a data set under changing conditions and writes down what every
// exit said. The same flags give the same bytes.
type Recorder struct {
	Out      string // the file; .gz compresses
	Dir      string // the data set: MNIST's files
	Split    string // t10k or train
	Images   string // FROM..TO, the pictures that are used; empty: all
	Segments string // see parseScene
	Video    int    // frames that a picture stays for; 0 and 1: no video
	Shuffle  bool
	Seed     uint64
	Model    string
}

// DefaultPictures is where Debian's dataset-fashion-mnist lies.
const DefaultPictures = "/usr/share/datasets/fashion-mnist"

// Run carries the command out.
func (c *Recorder) Run(out Output) error {
	if c.Out == "" {
		return usagef("-o: name a file to write, .csv or .csv.gz")
	}
	s, err := c.record(out.Progress)
	if err != nil {
		return err
	}
	if err := saveStream(s, c.Out); err != nil {
		return fmt.Errorf("cannot write the recording: %w", err)
	}
	if !out.JSON {
		_, err = fmt.Fprintf(out.Stdout, "%s: %d rows, %d ramps; the full model is right on %.2f %%, the ramps agree with it on %s\n",
			c.Out, len(s.Rows), s.Ramps, 100*right(s), percents(agreements(s)))
		return err
	}
	return writeJSON(out.Stdout, []recorded{{c.Out, len(s.Rows), s.Ramps, right(s), agreements(s), s.Depth, s.RampCost}})
}

// recorded is what the command says of a recording, shares of 1.
type recorded struct {
	File      string    `json:"file"`
	Rows      int       `json:"rows"`
	Ramps     int       `json:"ramps"`
	Accuracy  float64   `json:"accuracy"`  // of the full model
	Agreement []float64 `json:"agreement"` // of each ramp with it
	Depths    []float64 `json:"depths"`
	RampCost  []float64 `json:"ramp_cost"`
}

// record makes the stream.
func (c *Recorder) record(progress *Progress) (*exitstream.Stream, error) {
	parts, err := parseScene(c.Segments)
	if err != nil {
		return nil, err
	}
	if c.Split != "t10k" && c.Split != "train" {
		return nil, usagef("-split: %q: want t10k or train", c.Split)
	}
	if c.Video < 0 || c.Video > mostRows {
		return nil, usagef("-video: %d: want the number of frames that a picture stays for", c.Video)
	}
	model, err := engine.Builtin(c.Model)
	if err != nil {
		return nil, usagef("-model: %v", err)
	}
	staged, ok := model.(engine.Staged)
	if !ok {
		return nil, usagef("-model: %s has no ramps", c.Model)
	}
	p, err := loadPictures(c.Dir, c.Split)
	if err != nil {
		return nil, err
	}
	from, to, err := parseImages(c.Images, p.count)
	if err != nil {
		return nil, err
	}
	in := &staged.Metadata().Inputs[0]
	if want := []int64{-1, 1, int64(p.height), int64(p.width)}; fmt.Sprint(in.Shape) != fmt.Sprint(want) {
		return nil, fmt.Errorf("model %s takes %v, the pictures of %s are %v", c.Model, in.Shape, c.Dir, want)
	}
	s := newRecording(staged, streamName(c.Out))
	for _, part := range parts {
		if n := len(s.Segments); n == 0 || s.Segments[n-1].Name != part.name {
			s.Segments = append(s.Segments, exitstream.Segment{Name: part.name, From: len(s.Rows)})
		}
		s.Rows = append(s.Rows, make([]earlyexit.Outcome, part.rows)...)
	}
	s.Labels, s.Final = make([]int32, len(s.Rows)), make([]float32, len(s.Rows))
	plan := views(parts, from, to, max(1, c.Video), c.Shuffle, c.Seed)
	const batch = 32
	var done atomic.Int64
	err = parallel((len(plan)+batch-1)/batch, func(k int) error {
		first := k * batch
		if err := see(s, staged, p, plan[first:min(first+batch, len(plan))], first, c.Seed); err != nil {
			return err
		}
		progress.Say("%d of %d rows recorded", min(done.Add(batch), int64(len(plan))), len(plan))
		return nil
	})
	return s, err
}

// parseImages reads FROM..TO.
func parseImages(text string, count int) (from, to int, err error) {
	if text == "" {
		return 0, count, nil
	}
	a, b, _ := strings.Cut(text, "..")
	from, errFrom := strconv.Atoi(a)
	to, errTo := strconv.Atoi(b)
	if errFrom != nil || errTo != nil || from < 0 || to < from || to >= count {
		return 0, 0, usagef("-images: %q: want FROM..TO, of pictures 0 to %d", text, count-1)
	}
	return from, to + 1, nil
}

// newRecording is a stream with the model's costs, in multiply-adds.
func newRecording(m engine.Staged, name string) *exitstream.Stream {
	s := &exitstream.Stream{Name: name, Ramps: m.Stages() - 1}
	whole, until := int64(0), int64(0)
	work := m.Work()
	for _, w := range work {
		whole += w.Trunk
	}
	for _, w := range work[:s.Ramps] {
		until += w.Trunk
		s.Depth = append(s.Depth, planner.Round(float64(until)/float64(whole), 6))
		s.RampCost = append(s.RampCost, planner.Round(float64(w.Ramp)/float64(whole), 6))
	}
	return s
}

// see records a batch of rows of a stream, the first of which is number first.
func see(s *exitstream.Stream, m engine.Staged, p *pictures, plan []view, first int, seed uint64) error {
	size := p.height * p.width
	pixels := make([]float32, len(plan)*size)
	for k := range plan {
		p.draw(pixels[k*size:][:size], &plan[k], first+k, seed)
	}
	data, err := binary.Append(nil, binary.LittleEndian, pixels)
	if err != nil {
		return err
	}
	in := &m.Metadata().Inputs[0]
	e, err := m.Begin([]oip.Tensor{{Name: in.Name, Datatype: in.Datatype, Shape: []int64{int64(len(plan)), 1, int64(p.height), int64(p.width)}, Data: data}})
	if err != nil {
		return err
	}
	defer e.Close()
	for k := range plan {
		s.Rows[first+k] = earlyexit.Outcome{Seq: uint64(first + k), Signals: unseen(s.Ramps), Exit: -1, Audit: 1, Ran: true}
		s.Labels[first+k] = int32(p.labels[plan[k].picture])
	}
	for !e.Done() {
		exit, err := e.Next(context.Background(), true)
		if err != nil {
			return err
		}
		for at, k := range exit.Rows {
			g := earlyexit.SignalOf(exit.Probabilities[at*exit.Classes:][:exit.Classes])
			if !g.Seen() {
				return fmt.Errorf("cannot record row %d: exit %d gives no probabilities", first+k, exit.Stage)
			}
			o := &s.Rows[first+k]
			if exit.Done {
				o.Class, s.Final[first+k] = g.Class, g.Confidence
				continue
			}
			o.Signals[exit.Stage] = g
		}
	}
	for k := range plan {
		o := &s.Rows[first+k]
		for r, g := range o.Signals {
			if g.Class == o.Class {
				o.Agree |= 1 << r
			}
		}
	}
	return nil
}
