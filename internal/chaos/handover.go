package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// routers are the processes that run this world's configuration: a router that
// was replaced leaves one that this process did not start.
func (w *World) routers() ([]int, error) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range all {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := bytes.Split(line, []byte{0})
		program := w.Router.Args[len(w.Wrap)]
		if string(args[0]) == program && slices.ContainsFunc(args, func(a []byte) bool { return string(a) == w.config }) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// stopOthers ends the routers that this process did not start.
func (w *World) stopOthers(within time.Duration) error {
	for deadline := time.Now().Add(within); ; Wait(20 * time.Millisecond) {
		pids, err := w.routers()
		if err != nil || len(pids) == 0 {
			return err
		}
		late := time.Now().After(deadline)
		for _, pid := range pids {
			signal := syscall.SIGTERM
			if late {
				signal = syscall.SIGKILL
			}
			_ = syscall.Kill(pid, signal) // it may have ended
		}
		if late {
			return fmt.Errorf("routers %v have not ended %v after SIGTERM", pids, within)
		}
	}
}
