package chaos

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Clock is the wall clock of one process, which can be stepped without touching
// that of the machine. A process reads it by a function that the kernel maps into
// it, the vDSO's clock_gettime; what is mapped is that process's own where it is
// written to, as debuggers do.
type Clock struct {
	pid    int
	offset int64 // where in its memory the seconds are that are added
}

// vdsoClock does the system call clock_gettime, and adds to the seconds of
// CLOCK_REALTIME, 0, the number that follows it, at byte 32.
var vdsoClock = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0e, // jne to ret
	0x85, 0xc0, // test eax, eax
	0x75, 0x0a, // jne to ret
	0x48, 0x8b, 0x0d, 0x0a, 0x00, 0x00, 0x00, // mov rcx, [rip+10]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,                               // ret
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, // to 32
	0, 0, 0, 0, 0, 0, 0, 0,
}

// TakeClock makes a process's wall clock one that can be stepped. The process
// must be one that this one may debug.
func TakeClock(pid int) (*Clock, error) {
	at, err := vdsoFunction(pid, "__vdso_clock_gettime", len(vdsoClock))
	if err != nil {
		return nil, fmt.Errorf("cannot take the clock of process %d: %w", pid, err)
	}
	c := &Clock{pid: pid, offset: at + 32}
	// No thread may be within the function meanwhile.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	Wait(20 * time.Millisecond)
	err = c.write(vdsoClock, at)
	return c, errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
}

// Step has the clock be that far from the machine's, to the second.
func (c *Clock) Step(by time.Duration) error {
	return c.write(binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second))), c.offset)
}

func (c *Clock) write(b []byte, at int64) error {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	_, err = mem.WriteAt(b, at)
	return err
}

// vdsoFunction is where in a process a function of the vDSO lies that has so
// many bytes at least.
func vdsoFunction(pid int, name string, size int) (int64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		start, err1 := strconv.ParseInt(from, 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		image := make([]byte, end-start)
		mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err != nil {
			return 0, err
		}
		defer mem.Close()
		if _, err := mem.ReadAt(image, start); err != nil {
			return 0, err
		}
		f, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return 0, err
		}
		symbols, err := f.DynamicSymbols()
		if err != nil {
			return 0, err
		}
		for _, s := range symbols {
			if s.Name == name && s.Size >= uint64(size) {
				return start + int64(s.Value), nil
			}
		}
	}
	return 0, errors.New("its vDSO has no such function")
}
