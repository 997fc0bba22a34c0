package load

import (
	"bytes"
	"encoding/json"

	"motley/internal/oip"
)

// checker judges answers. It is one loop's.
type checker struct {
	response oip.Response
	floats   []float32
}

// judge says whether a body with status 200 answers a request to the model for
// the rows, and by which exit; −1: it does not say.
func (c *checker) judge(b *Bodies, body []byte, headLength, rows int) (Outcome, int) {
	r := &c.response
	if r.Parse(body, headLength, nil) != nil || len(r.Outputs) == 0 || !b.named(r.ModelName) {
		return Wrong, -1
	}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if b.batched && (len(o.Shape) == 0 || o.Shape[0] != int64(rows)) {
			return Wrong, -1
		}
	}
	if m, ok := r.ExitMark(); ok && m.Exit < 127 {
		return OK, m.Exit
	}
	return OK, -1
}

// named tells whether a JSON string is the model's name.
func (b *Bodies) named(literal []byte) bool {
	if bytes.Equal(literal, b.nameLiteral) {
		return true
	}
	var name string
	return json.Unmarshal(literal, &name) == nil && name == b.Model
}

// right counts the rows of the response that was judged last which are
// classified as the labels say. false: the answer has no class for each.
func (c *checker) right(labels []uint8) (n int, ok bool) {
	for i := range c.response.Outputs {
		o := &c.response.Outputs[i]
		var err error
		if len(o.Shape) != 2 || o.Shape[1] < 2 || o.Shape[0] != int64(len(labels)) {
			continue
		}
		if c.floats, err = o.Floats(c.floats[:0]); err != nil || len(c.floats) != len(labels)*int(o.Shape[1]) {
			continue
		}
		classes := int(o.Shape[1])
		for k, label := range labels {
			row := c.floats[k*classes:][:classes]
			best := 0
			for j, v := range row {
				if v > row[best] {
					best = j
				}
			}
			if best == int(label) {
				n++
			}
		}
		return n, true
	}
	return 0, false
}
