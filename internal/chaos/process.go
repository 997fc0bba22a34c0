package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that can be killed and started again.
type Process struct {
	Name string
	Args []string // the program first
	Env  []string // added to this process's own
	Log  string   // the file that gets what it prints

	mu struct {
		sync.Mutex
		cmd  *exec.Cmd
		done chan struct{} // closed when it has ended
		err  error         // how it ended
	}
}

// Start starts it.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.mu.cmd, p.mu.done = cmd, done
	go func() { // it ends with the process
		err := cmd.Wait()
		p.mu.Lock()
		if p.mu.cmd == cmd {
			p.mu.err = err
		}
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// PID is that of the process that was started last.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.cmd == nil {
		return 0
	}
	return p.mu.cmd.Process.Pid
}

// Signal sends it a signal, if it still runs.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.cmd != nil {
		_ = p.mu.cmd.Process.Signal(s) // it may have ended
	}
}

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.done
}

// Kill kills it, and waits until it is gone.
func (p *Process) Kill() {
	done := p.Ended()
	if done == nil {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-done
}

// Stop asks it to end, and kills it if it does not within d. It returns an error
// unless it ended by itself, with status 0.
func (p *Process) Stop(d time.Duration) error {
	done := p.Ended()
	if done == nil {
		return nil
	}
	p.Signal(syscall.SIGTERM)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		p.Kill()
		return fmt.Errorf("%s has not ended %v after SIGTERM", p.Name, d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.err != nil {
		return fmt.Errorf("%s ended: %w", p.Name, p.mu.err)
	}
	return nil
}

// Usage is what a process holds.
type Usage struct {
	Descriptors int
	RSS         int64 // bytes
}

// usage reads what a process holds.
func usage(pid int) (u Usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return u, err
	}
	u.Descriptors = len(fds)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			u.RSS = kb << 10
			return u, err
		}
	}
	return u, errors.New("the process has no VmRSS")
}
