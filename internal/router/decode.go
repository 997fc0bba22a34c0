package router

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"motley/internal/oip"
)

// encoding is a content coding.
type encoding uint8

const (
	identity encoding = iota
	gzipped
	deflated // zlib's format, as RFC 9110 has it
	unsupported
)

const (
	acceptedEncodings = "gzip, deflate"

	// A body may grow beyond MaxRatio times its compressed size only while it
	// stays under ratioFloor bytes: a zeroed image is honest, a bomb is not.
	ratioFloor = 8 << 20
)

// contentEncoding reads a Content-Encoding header.
func contentEncoding(v []byte) encoding {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0, bytes.EqualFold(v, []byte("identity")):
		return identity
	case bytes.EqualFold(v, []byte("gzip")), bytes.EqualFold(v, []byte("x-gzip")):
		return gzipped
	case bytes.EqualFold(v, []byte("deflate")):
		return deflated
	}
	return unsupported
}

// inflater decompresses request bodies; its readers are kept between uses.
type inflater struct {
	src  bytes.Reader
	gzip *gzip.Reader
	zlib io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// decode returns the decompressed body, in x.spare if there is room. What it takes of the
// budget is given back with x.
func (s *Server) decode(x *exchange, body []byte, enc encoding) ([]byte, error) {
	return appendDecoded(x.spare[:0], body, enc, inflation{
		most: s.cfg.MaxBody, ratio: s.cfg.MaxRatio,
		hold: func(n int) error {
			if !s.budget.take(n-x.held, n) {
				return s.noRoom()
			}
			x.held = n
			return nil
		},
	})
}

// inflation bounds what a body may become.
type inflation struct {
	most  int             // bytes
	ratio int             // times its compressed size, beyond ratioFloor
	hold  func(int) error // is asked before it takes so many bytes
}

// appendDecoded appends the decompressed body to dst. Errors are *oip.Error, or
// hold's.
func appendDecoded(dst, body []byte, enc encoding, limits inflation) ([]byte, error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.src.Reset(body)
	defer f.src.Reset(nil)

	r, err := f.open(enc)
	if err != nil {
		return dst, undecodable(err)
	}
	start := len(dst)
	dst = slices.Grow(dst, min(4*len(body), limits.most)+1)
	if err := limits.hold(cap(dst) - start); err != nil {
		return dst, err
	}
	for {
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		size := len(dst) - start
		switch {
		case size > limits.most:
			return dst, tooLarge(fmt.Sprintf("decompressed request body is over the limit of %d bytes", limits.most))
		case size > ratioFloor && size > limits.ratio*len(body):
			return dst, tooLarge(fmt.Sprintf("decompressed request body is over %d times its compressed size of %d bytes",
				limits.ratio, len(body)))
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, undecodable(err)
		}
		if len(dst) == cap(dst) {
			grow := min(size+512, limits.most-size+1)
			if err := limits.hold(size + grow); err != nil {
				return dst, err
			}
			dst = slices.Grow(dst, grow)
		}
	}
}

// open returns the reader of enc over f.src.
func (f *inflater) open(enc encoding) (io.Reader, error) {
	if enc == gzipped {
		if f.gzip == nil {
			f.gzip = new(gzip.Reader)
		}
		return f.gzip, f.gzip.Reset(&f.src)
	}
	if f.zlib == nil {
		z, err := zlib.NewReader(&f.src)
		if err != nil {
			return nil, err
		}
		f.zlib = z
		return z, nil
	}
	return f.zlib, f.zlib.(zlib.Resetter).Reset(&f.src, nil)
}

func undecodable(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &oip.Error{
		Status:  http.StatusBadRequest,
		Message: fmt.Sprintf("cannot decompress request body: %v", err),
	}
}

func tooLarge(text string) error {
	return &oip.Error{Status: http.StatusRequestEntityTooLarge, Message: text}
}
