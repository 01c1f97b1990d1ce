package provider

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A nameserver answers questions over UDP from its table.
type nameserver struct {
	t    *testing.T
	conn net.PacketConn

	mu    sync.Mutex // guards the fields below
	addrs map[string][]netip.Addr
	srv   map[string][]dnsmessage.SRVResource
	down  bool // it fails
}

func startNameserver(t *testing.T) *nameserver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{t: t, conn: conn, addrs: map[string][]netip.Addr{}, srv: map[string][]dnsmessage.SRVResource{}}
	var done sync.WaitGroup
	done.Go(n.serve)
	t.Cleanup(func() { _ = conn.Close(); done.Wait() })
	return n
}

func (n *nameserver) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *nameserver) serve() {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if err := question.Unpack(buf[:size]); err != nil || len(question.Questions) != 1 {
			continue
		}
		answer, err := n.answer(question.ID, question.Questions[0]).Pack()
		if err != nil {
			n.t.Error(err)
			return
		}
		_, _ = n.conn.WriteTo(answer, from)
	}
}

func (n *nameserver) answer(id uint16, q dnsmessage.Question) *dnsmessage.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := &dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: true, Authoritative: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}}
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	if n.down {
		m.RCode = dnsmessage.RCodeServerFailure
		return m
	}
	if n.addrs[name] == nil && n.srv[name] == nil {
		m.RCode = dnsmessage.RCodeNameError
		return m
	}
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
	for _, a := range n.addrs[name] {
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	if q.Type == dnsmessage.TypeSRV {
		for _, r := range n.srv[name] {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &r})
		}
	}
	return m
}

func (n *nameserver) resolver() Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func ips(all ...string) []netip.Addr {
	list := make([]netip.Addr, len(all))
	for i, s := range all {
		list[i] = netip.MustParseAddr(s)
	}
	return list
}

func TestDiscoverAddresses(t *testing.T) {
	t.Parallel()
	dns := startNameserver(t)
	dns.set(func() { dns.addrs["llm.house.test"] = ips("10.0.0.8", "10.0.0.7", "fd00::7") })
	cl := newTestClient(t, Config{BaseURL: "http://llm.house.test:8000/v1", Discover: DiscoverA}, Options{Resolver: dns.resolver()})
	if every, ok := cl.Discovers(); !ok || every != 5*time.Second || cl.Endpoints() != nil || cl.Found() != nil {
		t.Errorf("%v %t, %v before the first look", every, ok, cl.Endpoints())
	}
	look := func(wantChange bool, want ...string) {
		t.Helper()
		changed, err := cl.Discover(t.Context())
		if err != nil || changed != wantChange || !slices.Equal(cl.Endpoints(), want) {
			t.Errorf("changed %t, %v: %v, want %v", changed, err, cl.Endpoints(), want)
		}
	}
	look(true, "10.0.0.7:8000", "10.0.0.8:8000", "[fd00::7]:8000")
	look(false, "10.0.0.7:8000", "10.0.0.8:8000", "[fd00::7]:8000")
	held := cl.Found()
	dns.set(func() { dns.addrs["llm.house.test"] = ips("10.0.0.9", "10.0.0.7") })
	look(true, "10.0.0.7:8000", "10.0.0.9:8000")
	if held.Generation != 1 || len(held.All) != 3 || cl.Found().Generation != 2 {
		t.Errorf("generations %d and %d", held.Generation, cl.Found().Generation)
	}
	// While the DNS fails, or knows of none, those known before stay.
	for _, fail := range []func(){func() { dns.down = true }, func() { dns.down = false; delete(dns.addrs, "llm.house.test") }} {
		dns.set(fail)
		if changed, err := cl.Discover(t.Context()); changed || err == nil || !strings.Contains(err.Error(), "providers.house") || len(cl.Endpoints()) != 2 {
			t.Errorf("changed %t, %v: %v", changed, err, cl.Endpoints())
		}
	}
}

func TestDiscoverRecords(t *testing.T) {
	t.Parallel()
	dns := startNameserver(t)
	name := func(s string) dnsmessage.Name { return dnsmessage.MustNewName(s + ".") }
	records := []dnsmessage.SRVResource{
		{Priority: 10, Weight: 5, Port: 8001, Target: name("two.house.test")},
		{Priority: 0, Weight: 20, Port: 8000, Target: name("one.house.test")},
		{Priority: 0, Weight: 20, Port: 8009, Target: name("gone.house.test")},
	}
	dns.set(func() {
		dns.addrs["one.house.test"] = ips("10.0.0.1")
		dns.addrs["two.house.test"] = ips("10.0.0.2", "fd00::2")
		dns.srv["_http._tcp.llm.house.test"], dns.srv["_models._tcp.house.test"] = records, records
	})
	want := []Endpoint{{"10.0.0.1:8000", 0, 20}, {"10.0.0.2:8001", 10, 5}, {"[fd00::2]:8001", 10, 5}}
	for _, base := range []string{"http://llm.house.test/v1", "https://_models._tcp.house.test/v1"} {
		cl := newTestClient(t, Config{BaseURL: base, Discover: DiscoverSRV}, Options{Resolver: dns.resolver()})
		if changed, err := cl.Discover(t.Context()); !changed || err != nil || !slices.Equal(cl.Found().All, want) {
			t.Errorf("%s: changed %t, %v, found %+v", base, changed, err, cl.Found())
		}
	}
}

// fixedNames is a resolver without a network.
type fixedNames struct {
	addrs func() ([]netip.Addr, error)
	srv   []*net.SRV
}

func (f fixedNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return f.addrs()
}

func (f fixedNames) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", f.srv, nil
}

// A round in which one name cannot be asked for takes no server away.
func TestDiscoverHalfARoundIsNone(t *testing.T) {
	t.Parallel()
	asked := 0
	cl := newTestClient(t, Config{BaseURL: "http://llm.test", Discover: DiscoverSRV}, Options{Resolver: fixedNames{
		addrs: func() ([]netip.Addr, error) {
			if asked++; asked > 3 {
				return nil, errors.New("timeout")
			}
			return ips("10.0.0.1"), nil
		},
		srv: []*net.SRV{{Target: "a", Port: 1}, {Target: "b", Port: 2}},
	}})
	if _, err := cl.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if changed, err := cl.Discover(t.Context()); changed || err == nil || len(cl.Endpoints()) != 2 {
		t.Errorf("changed %t, %v, %v", changed, err, cl.Endpoints())
	}
}

func TestDiscoverIsBounded(t *testing.T) {
	t.Parallel()
	many := make([]netip.Addr, 0, 2*maxEndpoints)
	for i := range 2 * maxEndpoints {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	cl := newTestClient(t, Config{BaseURL: "http://llm.test", Discover: DiscoverA}, Options{Resolver: fixedNames{addrs: func() ([]netip.Addr, error) { return many, nil }}})
	if _, err := cl.Discover(t.Context()); err != nil || len(cl.Endpoints()) != maxEndpoints || cl.Endpoints()[0] == cl.Endpoints()[1] {
		t.Errorf("%v, %d servers", err, len(cl.Endpoints()))
	}
}

// Idle connections to a server that is gone are closed at once, one in use when its call has ended, and others are kept.
func TestDiscoverClosesWhatIsGone(t *testing.T) {
	t.Parallel()
	closed := make(chan string, 8)
	asked, goOn := make(chan struct{}), make(chan struct{})
	server := func(name string, waits bool) *upstream {
		return startUpstream(t, func(p *peer) {
			for n := 0; ; n++ {
				if _, _, ok := p.request(); !ok {
					closed <- name
					return
				}
				if waits && n == 0 {
					close(asked)
					<-goOn
				}
				p.say(hello)
			}
		})
	}
	stays, goes, busy := server("stays", false), server("goes", false), server("busy", true)
	cl := newTestClient(t, Config{BaseURL: "http://llm.test", Discover: DiscoverSRV}, Options{})
	as := func(all ...*upstream) {
		names := fixedNames{addrs: func() ([]netip.Addr, error) { return ips("127.0.0.1"), nil }}
		for _, up := range all {
			names.srv = append(names.srv, &net.SRV{Target: "x", Port: uint16(up.l.Addr().(*net.TCPAddr).Port)})
		}
		cl.discovery.resolver = names
		if _, err := cl.Discover(t.Context()); err != nil {
			t.Error(err)
		}
	}
	call := func(up *upstream) {
		resp, err := cl.Do(t.Context(), Via{Endpoint: up.l.Addr().String()}, house, plain())
		if err != nil {
			t.Error(err)
			return
		}
		walk(resp)
	}
	as(stays, goes, busy)
	call(stays)
	call(goes)
	var underWay sync.WaitGroup
	underWay.Go(func() { call(busy) })
	<-asked
	as(stays)
	if got := <-closed; got != "goes" {
		t.Errorf("%s was closed first", got)
	}
	if cl.Network(goes.l.Addr().String()) != 0 || cl.Network(stays.l.Addr().String()) == 0 {
		t.Error("what is measured is of other servers")
	}
	close(goOn)
	underWay.Wait()
	if got := <-closed; got != "busy" {
		t.Errorf("%s was closed second", got)
	}
	call(stays)
	if n := stays.conns.Load(); n != 1 {
		t.Errorf("%d connections to the server that stays", n)
	}
}

func TestDiscoverAndProxies(t *testing.T) {
	t.Parallel()
	cfg := Config{BaseURL: "http://llm.house.test:8000", Discover: DiscoverA}
	o := Options{Codec: wordCodec{}, Egress: Egress{Proxy: "http://proxy:3128"}}
	if _, err := New("house", cfg, o); err == nil || !strings.Contains(err.Error(), "NO_PROXY") {
		t.Errorf("behind a proxy: %v", err)
	}
	o.Egress.NoProxy = ".house.test"
	cl := newTestClient(t, cfg, o)
	up := startUpstream(t, answering(hello))
	if _, err := cl.Do(t.Context(), Via{Endpoint: up.l.Addr().String()}, house, plain()); err != nil {
		t.Errorf("past the proxy: %v", err)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		took := 40 * time.Millisecond
		serve := pipes(func(p *peer) {
			_, _, _ = p.request()
			p.say(strings.Replace(hello, "\r\n", "\r\nConnection: close\r\n", 1))
		})
		cl := newTestClient(t, Config{BaseURL: "http://house"}, Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(took)
			return serve(ctx, network, addr)
		}})
		if cl.Network("") != 0 || cl.Network("10.0.0.1:80") != 0 {
			t.Error("something is known before any call")
		}
		call := func(endpoint string) {
			resp, err := cl.Do(t.Context(), Via{Endpoint: endpoint}, house, plain())
			if err != nil {
				t.Fatal(err)
			}
			walk(resp)
		}
		call("")
		call("10.0.0.1:80")
		took = 140 * time.Millisecond
		call("10.0.0.1:80")
		if near, far := cl.Network(""), cl.Network("10.0.0.1:80"); near != 40*time.Millisecond || far != 70*time.Millisecond {
			t.Errorf("%v and %v", near, far)
		}
		if cl.Network("house:80") != cl.Network("") {
			t.Error("the base URL's host has two distances")
		}
	})
}

func TestNetworkIsWithoutTheName(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering(hello))
	cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	if _, f := callAndWalk(t.Context(), cl, plain()); f != nil {
		t.Fatal(f)
	}
	if d := cl.Network(""); d <= 0 || d > 5*time.Second {
		t.Errorf("%v", d)
	}
}

// Fault 38, by server: one that does not take connections is given up after the connect timer, and says nothing of the others.
func TestFault38ConnectTimerOfOneServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		serve := pipes(func(p *peer) { _, _, _ = p.request(); p.say(hello) })
		cl := newTestClient(t, Config{BaseURL: "http://house"}, Options{
			Defaults: Timeouts{Connect: 2 * time.Second, FirstToken: time.Minute},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "10.0.0.2:80" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return serve(ctx, network, addr)
			},
		})
		began := time.Now()
		_, err := cl.Do(t.Context(), Via{Endpoint: "10.0.0.2:80"}, house, plain())
		f, _ := errors.AsType[*Failure](err)
		if f == nil || f.Reason != ReasonConnectTimer || f.Timer != "connect" || !f.NothingBilled || time.Since(began) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		resp, err := cl.Do(t.Context(), Via{Endpoint: "10.0.0.1:80"}, house, plain())
		if err != nil {
			t.Fatal(err)
		}
		walk(resp)
		if cl.Network("10.0.0.2:80") != 0 {
			t.Error("the one that was not reached has a distance")
		}
	})
}
