//go:build !race

package accesslog

import (
	"io"
	"testing"
	"time"
)

func TestNothingAllocates(t *testing.T) {
	l, _ := begin(t, io.Discard, Settings{File: "-", Sample: .0001, Errors: true, Factor: 2, Client: true})
	e := numbered(1)
	e.Error = "no room: \"queue\" \n full"
	if n := testing.AllocsPerRun(1000, func() { l.Wants(e.ID, false, time.Millisecond, time.Second) }); n > 0 {
		t.Errorf("a request that is not logged: %v allocations", n)
	}
	for range 5000 { // until the buffers are as large as they get
		l.Write(e)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Write(e) }); n > 0 {
		t.Errorf("a line: %v allocations", n)
	}
	l.Close()
}
