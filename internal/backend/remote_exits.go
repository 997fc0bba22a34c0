package backend

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// remoteExits is what a model's metadata tell of its ramps.
type remoteExits struct {
	Exits
	numbers []int // by ramp: its number on the wire, rising
	stream  bool  // by infer_stream; else as outputs of infer
}

// readExits finds them among the metadata's properties and parameters; nil where
// there are none, or what is said makes no sense.
func readExits(metadata []byte) *remoteExits {
	var form struct {
		Properties map[string]any `json:"properties"`
		Parameters map[string]any `json:"parameters"`
	}
	if json.Unmarshal(metadata, &form) != nil {
		return nil
	}
	text := func(key string) string {
		for _, m := range []map[string]any{form.Properties, form.Parameters} {
			switch v := m[key].(type) {
			case nil:
			case []any:
				return strings.Trim(fmt.Sprint(v), "[]")
			default:
				return fmt.Sprint(v)
			}
		}
		return ""
	}
	x := &remoteExits{}
	switch text(oip.MetaMode) {
	case oip.ModeDecoupled:
		x.stream = true
	case oip.ModeMultiOutput:
	default:
		return nil
	}
	ramps := fields(text(oip.MetaRamps))
	if len(ramps) == 1 && ramps[0] != "0" { // a count; ramp 0 alone is a list
		n, err := strconv.Atoi(ramps[0])
		if err != nil || n < 1 || n > earlyexit.MaxRamps {
			return nil
		}
		for k := range n {
			x.numbers = append(x.numbers, k)
		}
	} else {
		for _, f := range ramps {
			n, err := strconv.Atoi(f)
			if err != nil || n < 0 || n >= earlyexit.MaxRamps || len(x.numbers) > 0 && n <= x.numbers[len(x.numbers)-1] {
				return nil
			}
			x.numbers = append(x.numbers, n)
		}
	}
	if x.Ramps = len(x.numbers); x.Ramps == 0 {
		return nil
	}
	if n, err := strconv.Atoi(text(oip.MetaClasses)); err == nil && n > 1 {
		x.Classes = n
	}
	// Where all ramps come with the last answer, leaving early saves nothing.
	if x.stream {
		x.Depth = readDepth(fields(text(oip.MetaDepth)), x.Ramps)
	}
	return x
}

// readDepth is nil unless there is a rising share for each ramp.
func readDepth(list []string, ramps int) (depth []float64) {
	before := 0.0
	for _, f := range list {
		d, err := strconv.ParseFloat(f, 64)
		if err != nil || !(d >= before && d <= 1) {
			return nil
		}
		depth, before = append(depth, d), d
	}
	if len(depth) != ramps {
		return nil
	}
	return depth
}

// fields takes a list apart that is written with commas or with spaces.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// wire turns a set of ramps into one of their numbers on the wire.
func (x *remoteExits) wire(set uint32) (numbers uint32) {
	for ; set != 0; set &= set - 1 {
		if k := bits.TrailingZeros32(set); k < x.Ramps {
			numbers |= 1 << x.numbers[k]
		}
	}
	return numbers
}

// outputs that judge an exit, where the model's own metadata do not say better.
const (
	probabilitiesOutput = "probabilities"
	confidenceOutput    = "confidence"
)

// rampOutput is the output that a ramp is, by its number on the wire, where all
// come at once.
func rampOutput(number int) string { return "ramp" + strconv.Itoa(number) + "_" + probabilitiesOutput }

// signals reads what an exit says of n rows: of its probabilities [n,C], or where
// it has none of how sure it is, [n]. Rows of which nothing usable is said are
// Unseen. values is memory to use.
func (x *remoteExits) signals(dst []earlyexit.Signal, values []float32, r *oip.Response, probabilities string, n int) ([]earlyexit.Signal, []float32) {
	dst = grown(dst, n)
	for i := range dst {
		dst[i] = earlyexit.Unseen
	}
	o := find(r, probabilities)
	if o == nil && probabilities == probabilitiesOutput {
		for k := range r.Outputs { // under whatever name
			if s := r.Outputs[k].Shape; x.Classes > 0 && len(s) == 2 && s[1] == int64(x.Classes) && r.Outputs[k].Datatype == oip.FP32 {
				o = &r.Outputs[k]
				break
			}
		}
	}
	var err error
	if o != nil && len(o.Shape) == 2 && o.Shape[0] == int64(n) && (x.Classes == 0 || o.Shape[1] == int64(x.Classes)) {
		if values, err = o.Floats(values[:0]); err == nil && len(values) >= n {
			for i := range dst {
				classes := len(values) / n
				dst[i] = earlyexit.SignalOf(values[i*classes:][:classes])
			}
		}
		return dst, values
	}
	if o = find(r, confidenceOutput); o != nil && len(o.Shape) > 0 && o.Shape[0] == int64(n) {
		if values, err = o.Floats(values[:0]); err == nil && len(values) == n {
			for i := range dst {
				if s := (earlyexit.Signal{Class: -1, Confidence: values[i], Margin: earlyexit.Unseen.Margin, Entropy: earlyexit.Unseen.Entropy}); s.Seen() {
					dst[i] = s
				}
			}
		}
	}
	return dst, values
}

func find(r *oip.Response, name string) *oip.ResponseOutput {
	for k := range r.Outputs {
		if string(r.Outputs[k].Name) == name {
			return &r.Outputs[k]
		}
	}
	return nil
}
