package handover

import (
	"math"

	"golang.org/x/sys/unix"
)

// closeOnExecAll has no descriptor but those that are given by name outlive an exec: what
// libraries in C have opened may be without the mark. Go's own have it. Kernels before
// 5.11 cannot, and leave it at that.
func closeOnExecAll() {
	_ = unix.CloseRange(firstFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
}
