package chaos

import "syscall"

// attributes have a process die with this one, whatever happens.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
