package handover

import (
	"fmt"
	"net"
	"os"
)

// Stopping tells systemd, where it has started this process, that it stops.
func Stopping() error { return notify("STOPPING=1") }

// notify sends systemd a state, as sd_notify does. Without systemd nothing is done.
func notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	c, err := net.Dial("unixgram", name)
	if err == nil {
		_, err = c.Write([]byte(state))
		_ = c.Close() // all is sent
	}
	if err != nil {
		return fmt.Errorf("cannot notify systemd: %w", err)
	}
	return nil
}
