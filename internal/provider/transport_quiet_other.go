//go:build !unix

package provider

import "net"

// quietCheck trusts every idle connection where sockets cannot be looked at without reading.
func quietCheck(net.Conn) func() bool { return func() bool { return true } }
