//go:build unix

package seal

import (
	"os/exec"
	"syscall"
)

// killAll makes the end of a command that took too long that of its children too: of a script, the program that it runs.
func killAll(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
