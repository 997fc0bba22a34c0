package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// rowwise is a model whose outputs are its inputs and what it makes of each
// row by itself: digest, the row's hash as BYTES, and scores, six floats that
// follow from it.
func rowwise(in []Tensor) []Tensor {
	rows := in[0].Shape[0]
	digest := Tensor{Name: "digest", Datatype: Bytes, Shape: []int64{rows}}
	scores := Tensor{Name: "scores", Datatype: FP32, Shape: []int64{rows, 2, 3}}
	hashes := make([]uint64, rows)
	for row := range hashes {
		h := fnv.New64a()
		for _, t := range in {
			n := int64(1)
			for _, d := range t.Shape[1:] {
				n *= d
			}
			_, _ = fmt.Fprintf(h, "%s:", t.Name)
			at := 0
			for i := range n * int64(row+1) {
				size := t.Datatype.Size()
				if t.Datatype == Bytes {
					size = 4 + int(binary.LittleEndian.Uint32(t.Data[at:]))
				}
				if i >= n*int64(row) {
					_, _ = h.Write(t.Data[at : at+size])
				}
				at += size
			}
		}
		hashes[row] = h.Sum64()
	}
	for _, sum := range hashes {
		s := hex.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))[:sum%17]
		digest.Data = append(binary.LittleEndian.AppendUint32(digest.Data, uint32(len(s))), s...)
		for k := range 6 {
			v := float32(int8(sum>>(8*k))) / 3
			if v == 0 {
				v = float32(math.Inf(1))
			}
			scores.Data = binary.LittleEndian.AppendUint32(scores.Data, math.Float32bits(v))
		}
	}
	return append(slices.Clone(in), digest, scores)
}

// worker executes requests as one batch and returns each one's answer: an
// error of its own, or a response.
type worker func(t *testing.T, reqs []*Request) ([]*Message, []error)

// engineWorker decodes, runs rowwise and encodes.
func engineWorker(t *testing.T, reqs []*Request) ([]*Message, []error) {
	t.Helper()
	in, err := Tensors(nil, reqs, nil)
	if err != nil {
		t.Fatalf("Tensors: %v", err)
	}
	// The same order whoever comes first.
	slices.SortFunc(in, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	dst := messages(len(reqs))
	return dst, each(t, len(reqs), Encode(dst, rowwise(in), reqs, sizesOf(reqs), ResponseInfo{Model: "m", Version: "1", Parameters: []byte(`{"k": 1}`)}))
}

// remoteWorker merges, lets a server echo and splits.
func remoteWorker(binary bool) worker {
	return func(t *testing.T, reqs []*Request) ([]*Message, []error) {
		t.Helper()
		var merged Message
		if err := Merge(&merged, reqs, MergeOptions{Binary: binary}); err != nil {
			t.Fatalf("Merge: %v", err)
		}
		body, headLength := echo(t, &merged, binary)
		var resp Response
		if err := resp.Parse(body, headLength, nil); err != nil {
			t.Fatalf("Response.Parse: %v\n%q", err, body)
		}
		slices.SortFunc(resp.Outputs, func(a, b ResponseOutput) int { return bytes.Compare(a.Name, b.Name) })
		dst := messages(len(reqs))
		return dst, each(t, len(reqs), Split(dst, &resp, reqs, sizesOf(reqs)))
	}
}

func sizesOf(reqs []*Request) (sizes []int) {
	for _, r := range reqs {
		sizes = append(sizes, r.Size(true))
	}
	return sizes
}

// each is the error of each of n requests.
func each(t *testing.T, n int, err error) []error {
	t.Helper()
	errs := make([]error, n)
	var be *BatchError
	switch {
	case errors.As(err, &be):
		for i, e := range be.Errs {
			if e != nil {
				errs[i] = e
			}
		}
	case err != nil:
		t.Fatalf("a batch of %d: %v", n, err)
	}
	return errs
}

// cuts divides rows into parts at random.
func cuts(rng *rand.Rand, rows int) (sizes []int) {
	for rows > 0 {
		n := 1 + rng.IntN(rows)
		sizes = append(sizes, n)
		rows -= n
	}
	return sizes
}

// compact is a response without the white space that its JSON may hold.
func compact(t *testing.T, m *Message) string {
	t.Helper()
	head, rest := m.Body, []byte(nil)
	if m.HeadLength >= 0 {
		head, rest = m.Body[:m.HeadLength], m.Body[m.HeadLength:]
	}
	var b bytes.Buffer
	if err := json.Compact(&b, head); err != nil {
		t.Fatalf("%q is not JSON: %v", head, err)
	}
	return fmt.Sprintf("%s + %q, binary: %t", b.Bytes(), rest, m.HeadLength >= 0)
}

// ask adds requested outputs to a request's body: some of names, each in a form
// that rng chooses.
func ask(rng *rand.Rand, body []byte, headLength int, names []string) ([]byte, int) {
	head, rest := body, []byte(nil)
	if headLength >= 0 {
		head, rest = body[:headLength], body[headLength:]
	}
	var outs []string
	for _, i := range rng.Perm(len(names))[:1+rng.IntN(len(names))] {
		name, _ := json.Marshal(names[i])
		p := []string{``, `,"parameters":{"binary_data":true}`, `,"parameters":{"binary_data":false}`}[rng.IntN(3)]
		if names[i] == "scores" && rng.IntN(2) == 0 {
			p = []string{`,"parameters":{"classification":2}`, `,"parameters":{"binary_data":true,"classification":9}`}[rng.IntN(2)]
		}
		outs = append(outs, fmt.Sprintf(`{"name":%s%s}`, name, p))
	}
	head = fmt.Appendf(nil, `%s,"outputs":[%s]}`, head[:len(head)-1], strings.Join(outs, ","))
	if headLength < 0 {
		return head, -1
	}
	return append(head, rest...), len(head)
}

// For any request, any cut into parts and any company that the parts are
// executed in, the joined answers are the answer to the whole.
func FuzzSliceJoin(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed, byte(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n byte) {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		rows := 1 + int(n)%7
		want := randomTensors(seed, rng, rows)
		body, headLength := encodeRequest(rng, "whole", want, rng.IntN(2) == 0)
		var names []string
		for _, w := range want {
			names = append(names, w.name)
		}
		engine := n%3 == 0
		if engine {
			names = append(names, "digest", "scores")
		}
		if rng.IntN(2) == 0 {
			body, headLength = ask(rng, body, headLength, names)
		}
		run := remoteWorker(n%3 == 1)
		if engine {
			run = engineWorker
		}
		var src Request
		if err := src.Parse(body, headLength, nil); err != nil {
			t.Fatalf("Parse: %v\n%q", err, body)
		}
		sizes := cuts(rng, rows)
		if got := src.Splittable(nil, true); got != (rows > 1 && !strings.Contains(string(body), "classification")) {
			t.Fatalf("Splittable: %t, for %d rows\n%q", got, rows, body)
		}

		parts := make([]*Request, len(sizes))
		from := 0
		for i, size := range sizes {
			parts[i] = new(Request)
			if err := Slice(parts[i], &src, from, size); err != nil {
				t.Fatalf("Slice: %v", err)
			}
			got, err := reference(parts[i].Body, parts[i].HeadLength)
			if err != nil || len(got) != len(want) {
				t.Fatalf("part %q: %v", parts[i].Body, err)
			}
			for _, w := range rowsOf(want, from, size) {
				k := slices.IndexFunc(got, func(g bigTensor) bool { return g.name == w.name })
				compareOutput(t, w, got[k], 0, 1, false)
			}
			if parts[i].MergeKey(1, true) != src.MergeKey(1, true) {
				t.Fatalf("merge keys differ:\n%q\n%q", parts[i].Body, body)
			}
			from += size
		}

		wholes, errs := run(t, []*Request{&src})
		alone := make([]*Message, len(parts))
		for i, r := range parts {
			dst, partErrs := run(t, []*Request{r})
			if fmt.Sprint(partErrs[0]) != fmt.Sprint(errs[0]) {
				t.Fatalf("part %d: %v, the whole: %v", i, partErrs[0], errs[0])
			}
			alone[i] = dst[0]
		}
		if errs[0] != nil {
			return
		}
		joined := joinAnswers(t, alone, &src, sizes)
		if engine && (string(joined.Body) != string(wholes[0].Body) || joined.HeadLength != wholes[0].HeadLength) {
			t.Fatalf("joined %q, %d\nwhole  %q, %d", joined.Body, joined.HeadLength, wholes[0].Body, wholes[0].HeadLength)
		}
		if got, whole := compact(t, joined), compact(t, wholes[0]); got != whole {
			t.Fatalf("joined %s\nwhole  %s", got, whole)
		}

		// Now every part in one of two executions with others.
		answers := make([]*Message, len(parts))
		batches := make([][]int, 2)
		for i := range parts {
			b := rng.IntN(2)
			batches[b] = append(batches[b], i)
		}
		for _, batch := range batches {
			var reqs []*Request
			for _, i := range batch {
				reqs = append(reqs, parts[i])
			}
			for range rng.IntN(3) {
				other := randomTensors(seed, rng, 1+rng.IntN(3))
				body, headLength := encodeRequest(rng, "other", other, rng.IntN(2) == 0)
				r := new(Request)
				if err := r.Parse(body, headLength, nil); err != nil {
					t.Fatal(err)
				}
				r.Outputs = src.Outputs
				reqs = append(reqs, r)
			}
			if len(batch) == 0 {
				continue
			}
			dst, _ := run(t, reqs)
			for k, i := range batch {
				answers[i] = dst[k]
			}
		}
		joined = joinAnswers(t, answers, &src, sizes)
		whole, _ := referenceOutputs(t, wholes[0].Body, wholes[0].HeadLength)
		got, _ := referenceOutputs(t, joined.Body, joined.HeadLength)
		if len(got) == 0 || len(got) != len(whole) {
			t.Fatalf("%d outputs, want %d", len(got), len(whole))
		}
		for k, w := range whole {
			compareOutput(t, w, got[k], 0, 1, false)
			if i := slices.Index(names, w.name); i < len(want) {
				compareOutput(t, want[i], got[k], 0, 1, false)
			}
		}
	})
}

// joinAnswers joins and sees to it that each output has the form that was
// asked for.
func joinAnswers(t *testing.T, answers []*Message, req *Request, sizes []int) *Message {
	t.Helper()
	resps := make([]*Response, len(answers))
	for i, m := range answers {
		resps[i] = new(Response)
		if err := resps[i].Parse(m.Body, m.HeadLength, nil); err != nil {
			t.Fatalf("answer %q: %v", m.Body, err)
		}
	}
	joined := new(Message)
	if err := Join(joined, resps, req, sizes); err != nil {
		t.Fatalf("Join: %v", err)
	}
	var again Response
	if err := again.Parse(joined.Body, joined.HeadLength, nil); err != nil {
		t.Fatalf("Join gave %q: %v", joined.Body, err)
	}
	if string(again.ID) != string(req.ID) {
		t.Fatalf("id %s, want %s", again.ID, req.ID)
	}
	for k, o := range again.Outputs {
		want := req.BinaryOutput
		if len(req.Outputs) > 0 {
			want = req.Outputs[k].Binary
			if string(req.Outputs[k].Name) != string(o.Name) {
				t.Fatalf("output %d is %q in %q", k, o.Name, joined.Body)
			}
		}
		if want != (o.JSON == nil) {
			t.Fatalf("output %q is binary: %t, want %t", o.Name, !want, want)
		}
	}
	return joined
}

// Whatever a server answers to a batch of several rows: cut by Split and
// joined again it is what Split makes of it for one request.
func FuzzJoin(f *testing.F) {
	f.Add([]byte(`{"model_name":"m","model_version":"1","id":"x","parameters":{"k":1},"outputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[NaN,null]}]}`), -1, uint8(1), uint8(1), true)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[3,1],"datatype":"BYTES","data":[["\ud800],["],["\xff"], ["" ]]}]}`), -1, uint8(1), uint8(2), false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}}]}ab`), 92, uint8(1), uint8(1), false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}`+"\x01\x00\x00\x00a\x00\x00\x00\x00"), 92, uint8(1), uint8(1), false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2e0],[null,-Inf]]},{"data":[[true],[false]],"name":"b","shape":[2,1],"datatype":"BOOL"}]}`), -1, uint8(1), uint8(1), false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2,0],"datatype":"FP64","data":[[],[]]},{"name":"b","shape":[2,0,3],"datatype":"FP64","data":[]}]}`), -1, uint8(1), uint8(1), true)
	f.Add([]byte(`{"outputs":[]}`), -1, uint8(1), uint8(1), true)
	f.Fuzz(func(t *testing.T, body []byte, headLength int, a, b uint8, binaryOutput bool) {
		var resp Response
		if err := resp.Parse(body, headLength, nil); err != nil || a == 0 || b == 0 {
			return
		}
		req := &Request{BinaryOutput: binaryOutput, ID: []byte(`"none but ours"`)}
		part := &Request{BinaryOutput: binaryOutput}
		whole, parts := messages(1), messages(2)
		if string(resp.ID) == string(req.ID) || Split(whole, &resp, []*Request{req}, nil) != nil || Split(parts, &resp, []*Request{part, part}, []int{int(a), int(b)}) != nil {
			return
		}
		joined := joinAnswers(t, parts, req, []int{int(a), int(b)})
		if got, want := compact(t, joined), compact(t, whole[0]); got != want {
			t.Fatalf("joined %s\nwhole  %s\nof %q", got, want, body)
		}
	})
}
