package cascade

import (
	"slices"

	"motley/internal/live"
	"motley/internal/oip"
)

// tensorForm is what an output looks like whatever its rows hold.
type tensorForm struct {
	datatype oip.Datatype
	shape    []int64 // without the first dimension where the model batches
}

// values is how many elements a row has.
func (f *tensorForm) values() int {
	n := 1
	for _, d := range f.shape {
		n *= int(d)
	}
	return n
}

// of is the tensor of that many rows.
func (f *tensorForm) of(name string, rows int, batched bool, data []byte) oip.Tensor {
	shape := f.shape
	if batched {
		shape = append([]int64{int64(rows)}, f.shape...)
	}
	return oip.Tensor{Name: name, Datatype: f.datatype, Shape: shape, Data: data}
}

// form is the form of a cascade's answers: the reference's.
type form struct {
	batched      bool
	score, label tensorForm
}

func (f *form) equal(g *form) bool {
	same := func(a, b *tensorForm) bool { return a.datatype == b.datatype && slices.Equal(a.shape, b.shape) }
	return g != nil && f.batched == g.batched && same(&f.score, &g.score) && same(&f.label, &g.label)
}

// learn keeps the form of an answer of the reference.
func (c *Cascade) learn(f *form) {
	if !f.equal(c.form.Load()) {
		c.form.Store(f)
	}
}

// formOf is the form of answers, as the reference's latest one had it or else as
// its metadata have it; nil where neither tells: then the reference has to be
// asked.
func (c *Cascade) formOf(info *live.Info) *form {
	if f := c.form.Load(); f != nil && f.batched == info.Batched {
		return f
	}
	f := &form{batched: info.Batched}
	ref := &c.cfg.Stages[c.last]
	if info.Metadata == nil || !f.score.read(info, ref.Output) || ref.Label != "" && !f.label.read(info, ref.Label) {
		return nil
	}
	return f
}

// read takes the form of an output from metadata; false where they leave it
// open.
func (f *tensorForm) read(info *live.Info, name string) bool {
	for i := range info.Metadata.Outputs {
		o := &info.Metadata.Outputs[i]
		if o.Name != name {
			continue
		}
		f.datatype, f.shape = o.Datatype, o.Shape
		if info.Batched {
			if len(f.shape) == 0 {
				return false
			}
			f.shape = f.shape[1:]
		}
		return !slices.ContainsFunc(f.shape, func(d int64) bool { return d < 0 })
	}
	return false
}

// known is what clients are told of the cascade, and what it was made of.
type known struct {
	from *live.Info
	info *live.Info
}

// Info is what is known of the cascade as a model: it takes what the reference
// takes and has those of its outputs that an answer can be made of. The value
// is shared: do not change it.
func (c *Cascade) Info() *live.Info {
	from := c.cfg.Loop.Info(c.Reference())
	if k := c.known.Load(); k != nil && k.from == from {
		return k.info
	}
	info := *from
	if from.Metadata != nil {
		ref := &c.cfg.Stages[c.last]
		meta := *from.Metadata
		meta.Name, meta.Versions, meta.Platform, meta.Outputs = c.cfg.Name, []string{version}, "motley_cascade", nil
		meta.Properties = nil
		for _, o := range from.Metadata.Outputs {
			if o.Name == ref.Output || o.Name == ref.Label {
				meta.Outputs = append(meta.Outputs, o)
			}
		}
		info.Metadata = &meta
	}
	c.known.Store(&known{from: from, info: &info})
	return &info
}

// version is the only one that a cascade has.
const version = "1"
