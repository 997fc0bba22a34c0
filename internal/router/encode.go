package router

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// minCompress is the size in bytes from which a response body is compressed
// when the client asks for it.
const minCompress = 1024

// acceptedEncoding picks the coding of a response from an Accept-Encoding
// header: the one of gzip and deflate with the higher weight, gzip when they
// are equal, identity when neither is wanted or identity is preferred.
func acceptedEncoding(v []byte) encoding {
	if len(v) == 0 {
		return identity
	}
	gz, df, id, rest := -1, -1, -1, -1
	for len(v) > 0 {
		var item []byte
		item, v, _ = bytes.Cut(v, []byte(","))
		name, params, _ := bytes.Cut(item, []byte(";"))
		name = bytes.TrimSpace(name)
		q := weight(params)
		switch {
		case bytes.EqualFold(name, []byte("gzip")), bytes.EqualFold(name, []byte("x-gzip")):
			gz = q
		case bytes.EqualFold(name, []byte("deflate")):
			df = q
		case bytes.EqualFold(name, []byte("identity")):
			id = q
		case string(name) == "*":
			rest = q
		}
	}
	if gz < 0 {
		gz = rest
	}
	if df < 0 {
		df = rest
	}
	switch {
	case gz > 0 && gz >= df && gz >= id:
		return gzipped
	case df > 0 && df >= id:
		return deflated
	}
	return identity
}

// weight reads ";q=…" in thousandths: 1000 when there is none, 0 when it is
// malformed.
func weight(params []byte) int {
	params = bytes.TrimSpace(params)
	if len(params) == 0 {
		return 1000
	}
	v, ok := bytes.CutPrefix(params, []byte("q="))
	if !ok || len(v) == 0 || len(v) > 5 || v[0] != '0' && v[0] != '1' || len(v) > 1 && v[1] != '.' {
		return 0
	}
	q, unit := 1000*int(v[0]-'0'), 100
	for _, c := range v[min(2, len(v)):] {
		if c < '0' || c > '9' {
			return 0
		}
		q += unit * int(c-'0')
		unit /= 10
	}
	return min(q, 1000)
}

// deflater compresses response bodies; its writers are kept between uses.
type deflater struct {
	dst  sliceWriter
	gzip *gzip.Writer
	zlib *zlib.Writer
}

// deflaters hold some hundred KB each; the collector frees them when traffic
// without compression returns.
var deflaters = sync.Pool{New: func() any {
	// The level is the fastest: tensors hardly shrink more at the others. It
	// is a constant of the libraries, hence the ignored errors.
	g, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	return &deflater{gzip: g, zlib: z}
}}

// sliceWriter appends what is written to it.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// appendEncoded appends body to dst in the coding enc.
func appendEncoded(dst, body []byte, enc encoding) []byte {
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	d.dst.b = dst
	// Writing to a sliceWriter cannot fail.
	if enc == gzipped {
		d.gzip.Reset(&d.dst)
		_, _ = d.gzip.Write(body)
		_ = d.gzip.Close()
	} else {
		d.zlib.Reset(&d.dst)
		_, _ = d.zlib.Write(body)
		_ = d.zlib.Close()
	}
	dst, d.dst.b = d.dst.b, nil
	return dst
}

// name is the coding's name in Content-Encoding.
func (e encoding) name() string {
	switch e {
	case gzipped:
		return "gzip"
	case deflated:
		return "deflate"
	}
	return "identity"
}
