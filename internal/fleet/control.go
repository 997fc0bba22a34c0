package fleet

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"motley/internal/oip"
)

// setFaults puts the faults of the request's body, one per line, in the place
// of those that the server has. They are as ParseFault reads them, from and to
// counted from the server's start; kind down is not taken, and lines for other
// workers have no effect.
func (s *server) setFaults(ctx *fasthttp.RequestCtx) {
	if !ctx.IsPost() {
		fail(ctx, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	var list []Fault
	for line := range strings.Lines(string(ctx.PostBody())) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		f, err := ParseFault(line)
		switch {
		case err != nil:
			fail(ctx, http.StatusBadRequest, err.Error())
			return
		case f.Kind == "down":
			fail(ctx, http.StatusBadRequest, "kind down is only taken at the start")
			return
		}
		if f.of(Worker{Name: s.name, Type: s.kind}) {
			list = append(list, f)
		}
	}
	s.faults.list.Store(&list)
}

// has tells whether an input of integers of 64 bits has an element.
func (a *answerer) has(value int64, req *oip.Request, m *served) bool {
	if !slices.ContainsFunc(m.meta.Inputs, func(t oip.TensorMetadata) bool { return t.Datatype == oip.Int64 }) {
		return false
	}
	var err error
	if a.in, err = oip.Tensors(a.in, []*oip.Request{req}, m.meta); err != nil {
		return false // the answer will say so
	}
	for _, in := range a.in {
		if in.Datatype != oip.Int64 {
			continue
		}
		for at := 0; at+8 <= len(in.Data); at += 8 {
			if int64(binary.LittleEndian.Uint64(in.Data[at:])) == value {
				return true
			}
		}
	}
	return false
}
