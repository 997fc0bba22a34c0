package router

import (
	"fmt"
	"math/bits"
	"net/http"
	"strconv"
	"strings"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// exits fills in what the request allows of early exit. Nothing is ever looser
// than what the model is configured to do, since the loop takes the lesser of
// both: so a request that says nothing allows everything, but for a stream,
// whose client chooses for itself and gets the full model's answer in the end.
func (x *exchange) exits() error {
	p := &x.head.Exits
	streamed := x.target.endpoint == modelStream
	mode := earlyexit.Compute
	if streamed {
		mode = earlyexit.Off
	}
	if p.Mode != nil {
		var err error
		if mode, err = earlyexit.ParseMode(string(p.Mode)); err != nil {
			return badExits(fmt.Sprintf("Unable to parse parameter 'ee_mode': must be off, latency or compute, got %s", quote(p.Mode)))
		}
	}
	if p.Audit {
		mode = min(mode, earlyexit.Latency)
	}
	x.call.Most = 0
	switch most := p.MaxDisagreement; {
	case most == -1: // absent
	case !(most >= 0 && most <= 1):
		return badExits("Unable to parse parameter 'ee_max_disagreement': must be a number from 0 to 1")
	case most == 0: // to the loop 0 means the model's own
		mode = earlyexit.Off
	default:
		x.call.Most = most
	}
	x.call.Mode = mode

	ramps, _ := x.model.ramps()
	x.call.Call.Mark = ramps > 0
	if !streamed || ramps == 0 {
		return nil
	}
	all := uint32(1)<<ramps - 1
	x.call.Ramps = all
	if p.RampsGiven {
		if p.Ramps&^all != 0 {
			return badExits(fmt.Sprintf("parameter 'ee_active_ramps': model '%s' has no ramp %d, its ramps are 0 to %d",
				x.model.Name, bits.TrailingZeros32(p.Ramps&^all), ramps-1))
		}
		x.call.Ramps = p.Ramps
	}
	return nil
}

func badExits(text string) error { return &oip.Error{Status: http.StatusBadRequest, Message: text} }

// jsonOnly holds a stream's request to what its events can carry: answers in
// JSON. A raw request, which says nothing of its outputs, gets those as well.
func jsonOnly(r *oip.Request) error {
	if r.Raw {
		r.BinaryOutput = false
	}
	if r.BinaryOutput {
		return badExits("parameter 'binary_data_output': a stream's outputs are JSON, binary data has no place in its events")
	}
	for i := range r.Outputs {
		if r.Outputs[i].Binary {
			return badExits(fmt.Sprintf("output '%s', parameter 'binary_data': a stream's outputs are JSON, binary data has no place in its events",
				cut(r.Outputs[i].Name)))
		}
	}
	return nil
}

// ramps returns how many ramps the model has in use, and their depths.
func (m *model) ramps() (int, []float64) {
	if m.Ramps == nil {
		return 0, nil
	}
	n, depth := m.Ramps()
	return min(max(n, 0), earlyexit.MaxRamps), depth
}

// early reports whether exit is a ramp's, and not the full model's.
func (m *model) early(exit int) bool {
	ramps, _ := m.ramps()
	return exit >= 0 && exit < ramps
}

// properties returns those that a worker told, with the router's own ramps in
// place of the worker's.
func (m *model) properties(info ModelInfo) map[string]string {
	ramps, depth := m.ramps()
	own := make(map[string]string, len(info.Metadata.Properties)+4)
	for k, v := range info.Metadata.Properties {
		if !strings.HasPrefix(k, "ee_") || k == oip.MetaClasses && ramps > 0 {
			own[k] = v
		}
	}
	if ramps == 0 {
		return own
	}
	own[oip.MetaRamps] = strconv.Itoa(ramps)
	own[oip.MetaMode] = oip.ModeDecoupled
	if len(depth) > 0 {
		texts := make([]string, len(depth))
		for i, d := range depth {
			texts[i] = strconv.FormatFloat(d, 'g', 4, 64)
		}
		own[oip.MetaDepth] = strings.Join(texts, ",")
	}
	if info.Classes > 0 {
		own[oip.MetaClasses] = strconv.Itoa(info.Classes)
	}
	return own
}

// report says where the model's early exit stands; false where it has none.
func (m *model) report() (earlyexit.Report, bool) {
	if m.Exits == nil {
		return earlyexit.Report{}, false
	}
	return m.Exits()
}
