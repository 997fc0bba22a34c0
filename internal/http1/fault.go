package http1

import "fmt"

// Fault says why a request is refused before anybody has looked at what it asks for:
// where it ends is not certain, or a limit is passed. The connection is of no use
// after it.
type Fault struct {
	Status int
	Text   string // what the client is told
	Retry  bool   // the same request may succeed later
}

// Error implements error.
func (f *Fault) Error() string { return f.Text }

// Limits bound what a request may cost before it is understood. Zero is no bound.
type Limits struct {
	Head   int // bytes of the head, the empty line included; trailers have as many
	Fields int // headers; trailers
	Body   int // bytes of the body, without the framing of chunks
}

const (
	badRequest     = 400
	bodyTooLarge   = 413
	badExpectation = 417
	headTooLarge   = 431
	badVersion     = 505
	methodNot      = 405
)

func malformed(why string) *Fault {
	return &Fault{Status: badRequest, Text: "malformed HTTP request: " + why}
}

// The faults that do not depend on a limit.
var (
	errFirstByte   = malformed("it does not begin with a method")
	errLineEnd     = malformed("a line does not end in CR LF")
	errRequestLine = malformed("the request line is not method, target and version, with one space between them")
	errMethod      = malformed("the method has characters that it may not have")
	errTarget      = malformed("the target must be a path, or an http URL")
	errTargetChars = malformed("the target has characters that it may not have")
	errConnect     = &Fault{Status: methodNot, Text: "CONNECT is not supported: this is no proxy"}
	errVersion     = &Fault{Status: badVersion, Text: "HTTP version is not supported, use HTTP/1.1"}
	errFolded      = malformed("a header is folded")
	errName        = malformed("a header has no name, or one with characters that it may not have")
	errValue       = malformed("a header's value has control characters")
	errNoHost      = malformed("Host is missing")
	errTwoHosts    = malformed("Host occurs more than once")
	errHost        = malformed("Host has characters that it may not have")
	errOtherHost   = malformed("Host is not that of the target")
	errLength      = malformed("Content-Length must be a number")
	errTwoLengths  = malformed("Content-Length occurs more than once")
	errCoding      = malformed("Transfer-Encoding must be chunked and occur once")
	errCoding10    = malformed("HTTP/1.0 has no Transfer-Encoding")
	errBoth        = malformed("Content-Length and Transfer-Encoding exclude each other")
	errExpect      = &Fault{Status: badExpectation, Text: "Expect must be 100-continue"}
	errChunkSize   = malformed("a chunk's size must be a hexadecimal number")
	errChunkExt    = malformed("a chunk's extension is too long, or has control characters")
	errChunkEnd    = malformed("a chunk does not end where its size says")
	errTrailer     = malformed("a trailer says where the message ends")
)

func (l *Limits) headTooLarge() *Fault {
	return &Fault{Status: headTooLarge, Text: fmt.Sprintf("request head is over the limit of %d bytes", l.Head)}
}

func (l *Limits) tooManyFields() *Fault {
	return &Fault{Status: headTooLarge, Text: fmt.Sprintf("request head has more than the limit of %d headers", l.Fields)}
}

func (l *Limits) bodyTooLarge() *Fault {
	return &Fault{Status: bodyTooLarge, Text: fmt.Sprintf("request body is over the limit of %d bytes", l.Body)}
}

// Of a request whose client sends no more: nothing else can be said of it.
var (
	CutHead = malformed("it ended within its head")
	CutBody = malformed("it ended within its body")
)
