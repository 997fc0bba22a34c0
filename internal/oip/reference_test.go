package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"motley/internal/oip/oiptest"
)

// object is a JSON object with its members in order.
type object []struct {
	key   string
	value any
}

func (o object) get(key string) (value any, times int) {
	for _, m := range o {
		if m.key == key {
			value = m.value
			times++
		}
	}
	return value, times
}

// tree reads one value with encoding/json, keeping repeated members.
func tree(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		o := object{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := tree(dec)
			if err != nil {
				return nil, err
			}
			o = append(o, struct {
				key   string
				value any
			}{key.(string), v})
		}
		_, err = dec.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := tree(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return tok, nil
}

func depth(v any) int {
	n := 0
	switch v := v.(type) {
	case object:
		for _, m := range v {
			n = max(n, depth(m.value))
		}
	case []any:
		for _, e := range v {
			n = max(n, depth(e))
		}
	default:
		return 0
	}
	return n + 1
}

// referenceDatatypes are the protocol's datatypes with the bytes of an element.
var referenceDatatypes = map[Datatype]struct {
	name string
	size int
}{
	Bool: {"BOOL", 1}, Uint8: {"UINT8", 1}, Uint16: {"UINT16", 2}, Uint32: {"UINT32", 4}, Uint64: {"UINT64", 8},
	Int8: {"INT8", 1}, Int16: {"INT16", 2}, Int32: {"INT32", 4}, Int64: {"INT64", 8},
	FP16: {"FP16", 2}, BF16: {"BF16", 2}, FP32: {"FP32", 4}, FP64: {"FP64", 8}, Bytes: {"BYTES", 0},
}

// referenceNumber is a JSON number in the binary layout; false when it does
// not fit.
func referenceNumber(text string, d Datatype) ([]byte, bool) {
	size := referenceDatatypes[d].size
	b := make([]byte, 8)
	switch d {
	case Uint8, Uint16, Uint32, Uint64:
		v, err := strconv.ParseUint(text, 10, 8*size)
		binary.LittleEndian.PutUint64(b, v)
		return b[:size], err == nil
	case Int8, Int16, Int32, Int64:
		v, err := strconv.ParseInt(text, 10, 8*size)
		binary.LittleEndian.PutUint64(b, uint64(v))
		return b[:size], err == nil
	case FP32:
		v, err := strconv.ParseFloat(text, 32)
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
		return b[:4], err == nil
	case FP64:
		v, err := strconv.ParseFloat(text, 64)
		binary.LittleEndian.PutUint64(b, math.Float64bits(v))
		return b, err == nil
	}
	return nil, false
}

// reference is the slow and plain reading of a request: its inputs in the
// binary layout, or an error.
func reference(body []byte, headLength int) (tensors []bigTensor, err error) {
	defer func() {
		if p := recover(); p != nil {
			if err, _ = p.(error); err == nil {
				panic(p)
			}
		}
	}()
	must := func(good bool, format string, args ...any) {
		if !good {
			panic(fmt.Errorf(format, args...))
		}
	}
	must(headLength >= -1 && headLength <= len(body), "head length")
	if headLength == 0 {
		return []bigTensor{{elems: [][]byte{body}}}, nil
	}
	head, rest := body, []byte(nil)
	if headLength > 0 {
		head, rest = body[:headLength], body[headLength:]
	}
	must(json.Valid(head) && utf8.Valid(head), "not JSON")
	dec := json.NewDecoder(bytes.NewReader(head))
	dec.UseNumber()
	v, err := tree(dec)
	must(err == nil && depth(v) <= 100, "not JSON: %v", err)
	root, ok := v.(object)
	must(ok, "not an object")
	count := func(v any, most int64) bool {
		n, ok := v.(json.Number)
		i, err := strconv.ParseUint(string(n), 10, 63)
		return ok && err == nil && int64(i) <= most
	}
	params := func(o object, check map[string]func(v any) bool, shared bool) object {
		v, times := o.get("parameters")
		must(times <= 1, "parameters twice")
		if v == nil {
			return nil
		}
		p, ok := v.(object)
		must(ok, "parameters")
		for _, m := range p {
			must(!shared || !strings.HasPrefix(m.key, "shared_memory_") || m.key == "shared_memory_", "shared memory")
			if f := check[m.key]; f != nil {
				_, times := p.get(m.key)
				must(times == 1 && (m.value == nil || f(m.value)), "parameter")
			}
		}
		return p
	}
	boolean := func(v any) bool { _, ok := v.(bool); return ok }
	params(root, map[string]func(any) bool{
		"timeout":            func(v any) bool { return count(v, math.MaxInt64) },
		"priority":           func(v any) bool { return count(v, math.MaxInt32) },
		"binary_data_output": boolean,
		"sequence_id": func(v any) bool {
			n, isNumber := v.(json.Number)
			_, isString := v.(string)
			_, err := strconv.ParseUint(string(n), 10, 64)
			return isString || isNumber && err == nil
		},
		"ee_mode": func(v any) bool { _, ok := v.(string); return ok },
		"ee_max_disagreement": func(v any) bool {
			n, ok := v.(json.Number)
			f, err := n.Float64()
			return ok && err == nil && f >= 0 && f <= 1
		},
		"ee_audit": boolean,
		"ee_active_ramps": func(v any) bool {
			s, ok := v.(string)
			if s == "" {
				return ok
			}
			seen := map[string]bool{}
			for part := range strings.SplitSeq(s, ",") {
				n, err := strconv.Atoi(part)
				ok = ok && err == nil && n >= 0 && n < 32 && part == strconv.Itoa(n) && !seen[part]
				seen[part] = true
			}
			return ok
		},
	}, false)
	name := func(o object) string {
		v, times := o.get("name")
		s, ok := v.(string)
		must(times == 1 && ok && s != "", "name")
		return s
	}
	if id, times := root.get("id"); id != nil || times > 1 {
		_, ok := id.(string)
		must(ok && times == 1, "id")
	}
	seen := map[string]bool{}
	if outs, times := root.get("outputs"); outs != nil || times > 1 {
		list, ok := outs.([]any)
		must(ok && times == 1, "outputs")
		for _, v := range list {
			o, ok := v.(object)
			must(ok, "output")
			n := name(o)
			must(!seen[n], "output twice")
			seen[n] = true
			params(o, map[string]func(any) bool{
				"binary_data":    boolean,
				"classification": func(v any) bool { return count(v, math.MaxInt32) },
			}, true)
		}
	}
	seen = map[string]bool{}
	ins, times := root.get("inputs")
	list, ok := ins.([]any)
	must(ok && times == 1 && len(list) > 0, "inputs")
	var sizes []int64
	for _, v := range list {
		o, ok := v.(object)
		must(ok, "input")
		t := bigTensor{name: name(o)}
		must(!seen[t.name], "input twice")
		seen[t.name] = true
		d, times := o.get("datatype")
		s, ok := d.(string)
		must(ok && times == 1, "datatype")
		for d, info := range referenceDatatypes {
			if info.name == s {
				t.d = d
			}
		}
		must(t.d != Invalid, "datatype")
		shape, times := o.get("shape")
		dims, ok := shape.([]any)
		must(ok && times == 1 && len(dims) <= 32, "shape")
		product := big.NewInt(1)
		for _, n := range dims {
			must(count(n, 1<<62), "dimension")
			i, _ := n.(json.Number).Int64()
			if t.shape = append(t.shape, i); i > 0 {
				product.Mul(product, big.NewInt(i))
			}
		}
		must(product.Cmp(big.NewInt(1<<40)) <= 0, "product")
		if slices.Contains(t.shape, 0) {
			product.SetInt64(0)
		}
		size := int64(-1)
		p := params(o, map[string]func(any) bool{"binary_data_size": func(v any) bool { return count(v, math.MaxInt64) }}, true)
		if v, _ := p.get("binary_data_size"); v != nil {
			size, _ = v.(json.Number).Int64()
		}
		sizes = append(sizes, size)
		data, times := o.get("data")
		for _, m := range o { // null counts as absent, however often
			if m.key == "data" && m.value == nil {
				times--
			} else if m.key == "data" {
				data = m.value
			}
		}
		must(times <= 1, "data twice")
		must((times == 1) != (size >= 0), "data")
		if times == 1 {
			must(t.d != FP16 && t.d != BF16, "half")
			list, ok := data.([]any)
			must(ok, "data")
			t.elems = referenceElements(must, list, t.d, t.shape, product.Int64())
		} else {
			t.elems = make([][]byte, 0)
			must(t.d == Bytes || big.NewInt(size).Cmp(product.Mul(product, big.NewInt(int64(referenceDatatypes[t.d].size)))) == 0, "size")
		}
		tensors = append(tensors, t)
	}
	for i := range tensors {
		t := &tensors[i]
		if sizes[i] < 0 {
			continue
		}
		must(headLength > 0 && sizes[i] <= int64(len(rest)), "blob")
		blob := rest[:sizes[i]]
		rest = rest[sizes[i]:]
		n := int64(1)
		for _, d := range t.shape {
			n *= d
		}
		for len(blob) > 0 {
			size := uint64(referenceDatatypes[t.d].size)
			if t.d == Bytes {
				must(len(blob) >= 4, "string")
				size = 4 + uint64(binary.LittleEndian.Uint32(blob))
			}
			must(size <= uint64(len(blob)), "string")
			t.elems = append(t.elems, blob[:size])
			blob = blob[size:]
		}
		must(int64(len(t.elems)) == n, "elements")
	}
	must(len(rest) == 0, "left-over bytes")
	return tensors, nil
}

func referenceElements(must func(bool, string, ...any), list []any, d Datatype, shape []int64, product int64) [][]byte {
	var elems [][]byte
	element := func(v any) {
		var e []byte
		ok := false
		switch v := v.(type) {
		case bool:
			e, ok = []byte{0}, d == Bool
			if v {
				e[0] = 1
			}
		case string:
			e, ok = append(binary.LittleEndian.AppendUint32(nil, uint32(len(v))), v...), d == Bytes
		case json.Number:
			e, ok = referenceNumber(string(v), d)
		}
		must(ok, "element")
		elems = append(elems, e)
	}
	flat := true
	for _, v := range list {
		_, nested := v.([]any)
		flat = flat && !nested
	}
	if flat {
		for _, v := range list {
			element(v)
		}
		must(int64(len(elems)) == product, "count")
		return elems
	}
	var walk func(list []any, shape []int64)
	walk = func(list []any, shape []int64) {
		must(len(shape) > 0 && int64(len(list)) == shape[0], "nesting")
		for _, v := range list {
			if sub, ok := v.([]any); ok {
				walk(sub, shape[1:])
			} else {
				must(len(shape) == 1, "nesting")
				element(v)
			}
		}
	}
	walk(list, shape)
	return elems
}

func FuzzParseRequest(f *testing.F) {
	for _, c := range oiptest.Malformed {
		if n, err := ParseHeadLength([]byte(c.HeadLength)); err == nil && len(c.Body) < 1<<13 {
			f.Add(c.Body, n)
		}
	}
	f.Add([]byte(`{"id":"a","parameters":{"timeout":5,"priority":1,"sequence_id":"s"},"inputs":[{"name":"a","shape":[2,1],"datatype":"INT8","data":[[1],[-128]]}],"outputs":[{"name":"o","parameters":{"classification":2}}]}`), -1)
	f.Add([]byte(`{"parameters":{"ee_mode":"l\u0061tency","ee_max_disagreement":1e-2,"ee_active_ramps":"0,31,5","ee_audit":true},"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]}`), -1)
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}}]}ab`), 90)
	f.Add([]byte(`{"inputs":[{"name":"\u0061","shape":[2],"datatype":"BYTES","data":["\ud83d\ude00\ud83d","\n"]}],"id":null}`), -1)
	f.Fuzz(func(t *testing.T, body []byte, headLength int) {
		want, refErr := reference(body, headLength)
		var r Request
		err := r.Parse(body, headLength, nil)
		if (err == nil) != (refErr == nil) {
			t.Fatalf("Parse(%q, %d) = %v, reference: %v", body, headLength, err, refErr)
		}
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Status != 400 && e.Status != 413 || e.Message == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if r.Raw {
			return
		}
		tensors, err := Tensors(nil, []*Request{&r}, nil)
		if err != nil || len(tensors) != len(want) {
			t.Fatalf("Tensors: %d, %v; want %d", len(tensors), err, len(want))
		}
		for i, w := range want {
			g := tensors[i]
			if g.Name != w.name || g.Datatype != w.d || fmt.Sprint(g.Shape) != fmt.Sprint(w.shape) || !bytes.Equal(g.Data, bytes.Join(w.elems, nil)) {
				t.Fatalf("tensor %d = %v, want %v\n%q", i, g, w, body)
			}
		}
		r.MergeKey(1, true)
		for _, opt := range []MergeOptions{{}, {Binary: true}, {Binary: true, Timeout: 1}, {Binary: true, AllOutputs: true, AskRamps: true, Ramps: 1 << 31}, {Full: true}} {
			var m Message
			if err := Merge(&m, []*Request{&r}, opt); err != nil {
				if _, ok := err.(*BatchError); !ok || opt.Binary {
					t.Fatalf("Merge: %v\n%q", err, body)
				}
				continue
			}
			got, err := reference(m.Body, m.HeadLength)
			if err != nil {
				// FP16 and BF16 reach a worker that takes only JSON as JSON.
				if opt.Binary || !strings.Contains(err.Error(), "half") {
					t.Fatalf("Merge(%q) = %q, %d: %v", body, m.Body, m.HeadLength, err)
				}
				continue
			}
			for i, w := range want {
				compareOutput(t, w, got[i], 0, 1, m.HeadLength < 0)
			}
		}
	})
}
