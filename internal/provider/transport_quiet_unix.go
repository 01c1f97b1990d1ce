//go:build unix

package provider

import (
	"net"
	"syscall"
)

// quietCheck makes the look at an idle socket: is it open, and has it received nothing? It costs one system call that
// does not block. For a connection that is no socket it always says yes.
func quietCheck(raw net.Conn) func() bool {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return func() bool { return true }
	}
	var buf [1]byte
	var silent bool
	look := func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK)
		silent = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true // done, whatever came: never wait for more
	}
	return func() bool {
		silent = false
		return rc.Read(look) == nil && silent
	}
}
