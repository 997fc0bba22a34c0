package router

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"motley/internal/oip"
	"motley/internal/oip/oiptest"
	"motley/internal/pool"
)

// badRequest is a request as it crosses the wire, and the status it gets.
type badRequest struct {
	name   string
	wire   string
	status int
	text   string // part of the error; "" = any
}

const inferLine = "POST /v2/models/adder/infer HTTP/1.1\r\nHost: motley\r\n"

// post is an inference request with a correct Content-Length.
func post(body string, headers ...string) string {
	var b strings.Builder
	b.WriteString(inferLine)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

func gz(t testing.TB, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zl(t testing.TB, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// malformedRequests are hundreds of requests that must all be refused.
func malformedRequests(t testing.TB) []badRequest {
	var all []badRequest
	add := func(name, wire string, status int) { all = append(all, badRequest{name, wire, status, ""}) }
	json := func(name, body string) { add(name, post(body), http.StatusBadRequest) }

	for i := range len(validInfer) {
		json(fmt.Sprintf("JSON cut at %d", i), validInfer[:i])
	}
	const head = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}`
	length := fmt.Sprintf("Inference-Header-Content-Length: %d", len(head))
	for i := range 8 {
		add(fmt.Sprintf("blob cut at %d", i), post(head+"01234567"[:i], length), 400)
	}
	for i := 1; i < len(head); i++ {
		add(fmt.Sprintf("header length %d of %d", i, len(head)),
			post(head+"01234567", fmt.Sprintf("Inference-Header-Content-Length: %d", i)), 400)
	}
	add("bytes left over", post(head+"012345678", length), 400)
	add("no header length", post(head+"01234567"), 400)
	for _, v := range []string{
		"abc", "", "-1", "-0", "+5", "1.5", "0x10", "1e2", "99999999", "4294967296", "18446744073709551616",
		"99999999999999999999999999999999", "12 12", "１２", "--1", "-",
	} {
		add("header length "+v, post(head+"01234567", "Inference-Header-Content-Length: "+v), 400)
	}
	add("two header lengths", post(head+"01234567", length, "Inference-Header-Content-Length: 3"), 400)

	shape := func(s string) string {
		return `{"inputs":[{"name":"x","shape":` + s + `,"datatype":"FP32","data":[1,2]}]}`
	}
	for _, s := range []string{
		"[]", "[2]", "[1,3]", "[0,2]", "[-1,2]", "[1,-2]", "[1,2,1]", "[1.5,2]", `["1",2]`, "[1,null]", "null", "1", "{}",
		"[9223372036854775807,2]", "[9223372036854775808,2]", "[4294967296,4294967296]", "[1e3,2]", "[3037000500,3037000500,2]",
		"[1,2", "[[1,2]]", "[" + strings.Repeat("1,", 100) + "2]", "[9,2]",
	} {
		json("shape "+cutString(s), shape(s))
	}
	for _, d := range []string{`"FP33"`, `""`, `"fp32"`, "7", "null", `"BYTES"`, `"FP16"`, `"INT64x"`, "[]"} {
		json("datatype "+d, `{"inputs":[{"name":"x","shape":[1,2],"datatype":`+d+`,"data":[1,2]}]}`)
	}
	for _, d := range []string{
		"[]", "[1]", "[1,2,3]", `["a","b"]`, "[true,false]", "[null,null]", "1", `"12"`, "{}", "[1,", "[1,[2]]", "[[1],[2],[3]]",
		"[1,2}", "[1 2]", "[01,2]", "[1,2,]", "[NaN,1]", "[Infinity,1]", "[+1,2]", "[.5,2]", "null",
		strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat("[", 100000),
	} {
		json("data "+cutString(d), `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":`+d+`}]}`)
	}
	for _, b := range []string{
		"null", "true", "[]", "7", `"a"`, "{}", `{"inputs":null}`, `{"inputs":{}}`, `{"inputs":[]}`, `{"inputs":[null]}`, `{"inputs":[[]]}`,
		`{"inputs":[{}]}`, `{"inputs":[{"name":"x"}]}`, "\xff\xfe", "\x00", "{\"a\":\"\x01\"}", validInfer + "x", validInfer + validInfer,
		`{"id":7,` + validInfer[1:], `{"parameters":[],"inputs":[]}`,
		strings.Replace(validInfer, `"id":"a"`, `"id":"a","id":"b"`, 1),
		strings.Replace(validInfer, `"name":"x"`, `"name":""`, 1),
		strings.Replace(validInfer, `"name":"x"`, `"name":"y"`, 1),
		strings.Replace(validInfer, `"name":"x"`, `"name":3`, 1),
		strings.Replace(validInfer, `"id":"a"`, `"parameters":{"timeout":"x"}`, 1),
		strings.Replace(validInfer, `"id":"a"`, `"outputs":[{"name":"none"}]`, 1),
		strings.Replace(validInfer, `"id":"a"`, `"outputs":{}`, 1),
		strings.Replace(validInfer, `"id":"a"`, `"outputs":[7]`, 1),
		strings.Repeat(`{"a":`, 5000),
	} {
		json("body "+cutString(b), b)
	}

	zeros := strings.Repeat("0", 4<<20)
	valid := gz(t, validInfer)
	for i := 1; i < len(valid); i += 7 {
		add(fmt.Sprintf("gzip cut at %d", i), post(valid[:i], "Content-Encoding: gzip"), 400)
	}
	deflated := zl(t, validInfer)
	for i := 1; i < len(deflated); i += 7 {
		add(fmt.Sprintf("deflate cut at %d", i), post(deflated[:i], "Content-Encoding: deflate"), 400)
	}
	add("gzip bomb", post(gz(t, zeros), "Content-Encoding: gzip"), 413)
	add("deflate bomb", post(zl(t, zeros), "Content-Encoding: deflate"), 413)
	add("gzip with bytes behind it", post(valid+"xyz", "Content-Encoding: gzip"), 400)
	add("gzip with a wrong checksum", post(valid[:len(valid)-8]+"01234567", "Content-Encoding: gzip"), 400)
	add("gzip that is not", post(validInfer, "Content-Encoding: gzip"), 400)
	add("deflate that is gzip", post(valid, "Content-Encoding: deflate"), 400)
	add("empty gzip", post("", "Content-Encoding: gzip"), 400)
	add("gzip twice", post(valid, "Content-Encoding: gzip, gzip"), 415)
	add("two encodings", post(valid, "Content-Encoding: gzip", "Content-Encoding: gzip"), 415)
	add("unknown encoding", post(validInfer, "Content-Encoding: zstd"), 415)

	for i, h := range deadlineHeaders {
		for _, v := range []string{"x", "-1", "1e3", "1.", ".5", "1s1", "NaN"} {
			add(fmt.Sprintf("deadline %d %s", i, v), post(validInfer, h.name+": "+v), 400)
		}
	}

	for _, c := range oiptest.Malformed {
		wire := "POST /v2/models/fashion/infer HTTP/1.1\r\nHost: motley\r\n"
		if c.HeadLength != "" {
			wire += "Inference-Header-Content-Length: " + c.HeadLength + "\r\n"
		}
		wire += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c.Body), c.Body)
		all = append(all, badRequest{"codec: " + c.Name, wire, c.Status, c.Contains})
	}

	// The transport.
	add("body over the limit", inferLine+"Content-Length: 1048577\r\n\r\n", 413)
	add("body of 5 GB", inferLine+"Content-Length: 5000000000\r\n\r\n", 413)
	add("chunks over the limit", inferLine+"Transfer-Encoding: chunked\r\n\r\n100001\r\n", 413)
	add("content length that is no number", inferLine+"Content-Length: abc\r\n\r\n", 400)
	add("negative content length", inferLine+"Content-Length: -1\r\n\r\n", 400)
	add("content length beyond 64 bits", inferLine+"Content-Length: 99999999999999999999\r\n\r\n", 400)
	add("conflicting content lengths", inferLine+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400)
	add("length list", inferLine+"Content-Length: 2, 2\r\n\r\n{}", 400)
	add("chunk size that is no number", inferLine+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400)
	add("chunk longer than it says", inferLine+"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 400)
	add("negative chunk", inferLine+"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", 400)
	add("unknown transfer encoding", inferLine+"Transfer-Encoding: gzip\r\n\r\n", 400)
	add("two transfer encodings", inferLine+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
	add("head over the limit", inferLine+"X-Fill: "+strings.Repeat("a", 9000)+"\r\n\r\n", 431)
	add("path over the limit", "GET /"+strings.Repeat("a", 9000)+" HTTP/1.1\r\nHost: motley\r\n\r\n", 431)
	add("no method", " / HTTP/1.1\r\n\r\n", 400)
	add("no version", "GET /v2\r\n\r\n", 400)
	add("noise", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400)
	add("header without colon", "GET /v2 HTTP/1.1\r\nHost: motley\r\nNoColon\r\n\r\n", 400)
	add("space before colon", "GET /v2 HTTP/1.1\r\nHost : motley\r\n\r\n", 400)
	add("two hosts", "GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)
	return all
}

func cutString(s string) string { return s[:min(len(s), 40)] }

func TestMalformed(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.AccessLog = nil // its lines would be kept
		c.Log = nil
		// The in-memory listener keeps the timer of every deadline until it
		// fires, which would pass for growth.
		c.ReadTimeout, c.WriteTimeout, c.IdleTimeout = -1, -1, -1
		// The model that the codec's malformed requests are made for.
		fashion := &oip.ModelMetadata{
			Name: "fashion", Platform: "motley_onnx",
			Inputs: []oip.TensorMetadata{{Name: "image", Datatype: oip.FP32, Shape: []int64{-1, 1, 28, 28}}},
			Outputs: []oip.TensorMetadata{
				{Name: "probabilities", Datatype: oip.FP32, Shape: []int64{-1, 10}}, {Name: "label", Datatype: oip.Int64, Shape: []int64{-1, 1}},
			},
		}
		c.Models = append(c.Models, Model{Name: "fashion", ID: pool.ModelID(2), Info: func() ModelInfo {
			return ModelInfo{Metadata: fashion, Batched: true, MaxBatch: oiptest.MaxBatch}
		}})
	})
	cases := malformedRequests(t)
	if len(cases) < 200 {
		t.Fatalf("%d malformed requests, want at least 200", len(cases))
	}
	t.Logf("%d malformed requests", len(cases))
	round := func() {
		for _, c := range cases {
			res := f.raw(c.wire)
			if res.status != c.status {
				t.Errorf("%s: status %d, want %d (%s)", c.name, res.status, c.status, res.body)
			}
			if text := res.errorText(t); !strings.Contains(text, c.text) {
				t.Errorf("%s: error %q, want one with %q", c.name, text, c.text)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round()
	if t.Failed() {
		return
	}
	before := heap()
	for range 20 {
		round()
	}
	after := heap()
	t.Logf("heap %d KiB before, %d KiB after 20 rounds", before>>10, after>>10)
	if after > before+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes in 20 rounds", before, after)
	}
	if res := f.do("POST", "/v2/models/adder/infer", validInfer); res.status != 200 {
		t.Errorf("a valid request after all that: status %d", res.status)
	}
}

func TestSlowRequestTimesOut(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.ReadTimeout = 20 * time.Millisecond })
	res := f.raw(inferLine + "Content-Length: 100\r\n\r\n{")
	if res.status != http.StatusRequestTimeout {
		t.Fatalf("status %d, want 408", res.status)
	}
	if text := res.errorText(t); !strings.Contains(text, "20ms") {
		t.Errorf("error %q does not name the limit", text)
	}
}

// TestRatio holds a bomb that stays below the size limit against the ratio.
func TestRatio(t *testing.T) {
	limits := inflation{most: 64 << 20, ratio: 200, hold: func(int) error { return nil }}
	bomb := gz(t, strings.Repeat("\x00", 16<<20))
	_, err := appendDecoded(nil, []byte(bomb), gzipped, limits)
	if err == nil || !strings.Contains(err.Error(), "200 times") {
		t.Errorf("a body of 16 MiB from %d bytes: error %v, want one that names the ratio", len(bomb), err)
	}
	small := gz(t, strings.Repeat("\x00", 4<<20))
	if out, err := appendDecoded(nil, []byte(small), gzipped, limits); err != nil || len(out) != 4<<20 {
		t.Errorf("an image of zeros: %d bytes, %v", len(out), err)
	}
}
