package oip

import (
	"bytes"
	"math"
	"math/bits"
	"slices"
	"strconv"
)

// The parameters of early exit in requests.
const (
	ParamMode            = "ee_mode"             // string: off, latency or compute
	ParamMaxDisagreement = "ee_max_disagreement" // number, 0 … 1
	ParamActiveRamps     = "ee_active_ramps"     // string: numbers of ramps, "0,3,5"
	ParamAudit           = "ee_audit"            // boolean: run every row to the end
)

// The parameters of early exit in responses: see ExitMark.
const (
	ParamExit       = "ee_exit"
	ParamFinal      = "ee_final"
	ParamConfidence = "ee_confidence"
)

// What the metadata of a model with ramps says of them, as properties or as
// parameters; every value may be a string.
const (
	// MetaRamps is the number of ramps, or their numbers: "3", "0,1,2".
	MetaRamps = "ee_ramps"
	// MetaDepth is by ramp the share of a whole run that has passed: "0.15,0.34,0.6".
	MetaDepth = "ee_depth"
	// MetaClasses is how many probabilities each exit gives a row.
	MetaClasses = "ee_classes"
	// MetaMode is how the worker shows its ramps: ModeDecoupled or ModeMultiOutput.
	MetaMode = "ee_mode"

	// ModeDecoupled: infer_stream answers with one event an exit.
	ModeDecoupled = "decoupled"
	// ModeMultiOutput: infer has the ramps as outputs ramp0_probabilities,
	// ramp1_probabilities, … beside the model's own.
	ModeMultiOutput = "multi_output"
)

// maxRamps bounds the ramps of a model, so that a set of them is a uint32.
const maxRamps = 32

const (
	bitMode = 64 << iota
	bitMaxDisagreement
	bitActiveRamps
	bitAudit
)

// exitBit is the bit of a request parameter of early exit, 0 for others.
func exitBit(name string) uint16 {
	switch name {
	case ParamMode:
		return bitMode
	case ParamMaxDisagreement:
		return bitMaxDisagreement
	case ParamActiveRamps:
		return bitActiveRamps
	case ParamAudit:
		return bitAudit
	}
	return 0
}

// ofExits tells whether a request parameter, its name as walkMembers returns
// it, is one of early exit.
func ofExits(name []byte) bool {
	return is(name, ParamMode) || is(name, ParamMaxDisagreement) || is(name, ParamActiveRamps) || is(name, ParamAudit)
}

// member reads the parameter with that bit and tells what it must be.
func (e *ExitParams) member(lit []byte, bit uint16) (want string, ok bool) {
	e.given = true
	switch bit {
	case bitMode:
		if ok = lit[0] == '"'; ok {
			e.Mode = resolved(inner(lit))
		}
		return "a string", ok
	case bitMaxDisagreement:
		v := -1.0
		if lit[0] == '-' || lit[0]-'0' <= 9 {
			v, _ = strconv.ParseFloat(text(lit), 64)
		}
		if ok = v >= 0 && v <= 1; ok {
			e.MaxDisagreement = v
		}
		return "a number from 0 to 1", ok
	case bitActiveRamps:
		e.RampsGiven = true
		if lit[0] == '"' {
			e.Ramps, ok = parseRamps(resolved(inner(lit)))
		}
		return `a string of different numbers from 0 to 31 such as "0,3,5"`, ok
	}
	e.Audit = lit[0] == 't'
	return "a boolean", lit[0] == 't' || lit[0] == 'f'
}

// resolved is a string without escapes, in memory of its own where it had some.
func resolved(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	return appendUnescaped(nil, s)
}

// parseRamps reads "0,3,5" as bits; "" is no ramp.
func parseRamps(s []byte) (set uint32, ok bool) {
	for i := 0; i < len(s); i++ {
		start, n := i, 0
		for ; i < len(s) && s[i] != ','; i++ {
			if s[i]-'0' > 9 || i-start == 2 {
				return 0, false
			}
			n = 10*n + int(s[i]-'0')
		}
		if i == start || s[start] == '0' && i > start+1 || n >= maxRamps || set>>n&1 == 1 || i == len(s)-1 {
			return 0, false
		}
		set |= 1 << n
	}
	return set, true
}

// appendRamps writes what parseRamps reads.
func appendRamps(dst []byte, set uint32) []byte {
	for rest := set; rest != 0; rest &= rest - 1 {
		if rest != set {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(bits.TrailingZeros32(rest)), 10)
	}
	return dst
}

// ExitMark is what a response's parameters say of the exit that gave it.
type ExitMark struct {
	Exit       int     // ee_exit: the ramp; the number of ramps for the model's own exit
	Final      bool    // ee_final: no other response follows
	Confidence float32 // ee_confidence, 0 … 1; anything else is left out
}

// Append appends the mark as an object of parameters, for
// ResponseInfo.Parameters.
func (m ExitMark) Append(dst []byte) []byte {
	return closeMembers(m.members(append(dst, '{')))
}

func (m ExitMark) members(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `"ee_exit":`...), int64(m.Exit), 10)
	dst = strconv.AppendBool(append(dst, `,"ee_final":`...), m.Final)
	dst = append(dst, ',')
	if m.Confidence >= 0 && m.Confidence <= 1 {
		dst = strconv.AppendFloat(append(dst, `"ee_confidence":`...), float64(m.Confidence), 'g', -1, 32)
		dst = append(dst, ',')
	}
	return dst
}

// ExitMark reads what the response's parameters say of the exit that gave it;
// false where they say nothing of it, or nonsense.
func (r *Response) ExitMark() (m ExitMark, ok bool) {
	m = ExitMark{Exit: -1, Confidence: float32(math.NaN())}
	for i := 0; ; {
		name, value, next := walkMembers(r.Parameters, i)
		if name == nil {
			return m, m.Exit >= 0
		}
		i = next
		switch {
		case is(name, ParamExit):
			n, good := parseCount(value, maxRamps)
			if !good {
				return m, false
			}
			m.Exit = int(n)
		case is(name, ParamFinal):
			if value[0] != 't' && value[0] != 'f' {
				return m, false
			}
			m.Final = value[0] == 't'
		case is(name, ParamConfidence) && value[0]-'0' <= 9:
			if v, err := strconv.ParseFloat(text(value), 32); err == nil && v <= 1 {
				m.Confidence = float32(v)
			}
		}
	}
}

// AsJSON is a request for the same outputs, all as JSON: r itself where it asks
// for none in binary.
func (r *Request) AsJSON() *Request {
	if !r.wantsBinary() {
		return r
	}
	c := *r
	c.BinaryOutput = false
	c.Outputs = slices.Clone(r.Outputs)
	for i := range c.Outputs {
		c.Outputs[i].Binary = false
	}
	return &c
}

// plainOutputs tells that no output is asked for with parameters but for its
// form.
func (r *Request) plainOutputs() bool {
	for i := range r.Outputs {
		for at := 0; ; {
			name, _, next := walkMembers(r.Outputs[i].Parameters, at)
			if name == nil {
				break
			}
			if !is(name, pBinary) {
				return false
			}
			at = next
		}
	}
	return true
}
