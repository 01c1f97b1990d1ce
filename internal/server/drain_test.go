package server_test

import (
	"net"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// A connection to the control plane on which nothing is ever asked, as clients and load balancers keep, makes no error of a stop. For
// five seconds net/http takes it for one that is about to ask.
func TestAStopDoesNotFailForAConnectionThatAsksNothing(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: "listen: 127.0.0.1:0\nadmin: { listen: \"127.0.0.1:0\" }\ndata: data\n"})
	c, err := net.Dial("tcp", strings.TrimPrefix(e.AdminURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.Stop()
}
