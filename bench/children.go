package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/penstock/penstock/bench/mock"
)

// loopback is the only address that anything here listens on.
const loopback = "127.0.0.1:0"

// A listening is the line with which a process says that it serves. Ours use it, and Penstock does.
type listening struct {
	Event        string `json:"event"`
	Addr         string `json:"addr,omitempty"`           // of the mock and the proxy
	Data         string `json:"data,omitempty"`           // of Penstock
	Admin        string `json:"admin,omitempty"`          // of Penstock
	AdminKeyFile string `json:"admin_key_file,omitempty"` // of Penstock
}

// beChild is what the harness runs itself as: the mock or the proxy.
func beChild(ctx context.Context, o options) error {
	l, err := net.Listen("tcp", loopback)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	if err := json.NewEncoder(os.Stdout).Encode(listening{Event: "listening", Addr: l.Addr().String()}); err != nil {
		return err
	}
	switch o.role {
	case "mock":
		return mock.Serve(l)
	case "proxy":
		return serveProxy(l, o.upstream)
	}
	return fmt.Errorf("there is no role %q", o.role)
}

// serveProxy is the yardstick: the standard library's reverse proxy, with a transport that keeps enough connections. Full
// duplex is needed: without it, the server drains a request's body as the answer begins, and the transport, still to read
// that body's end, gives the upstream connection up; about one stream in a hundred breaks.
func serveProxy(l net.Listener, upstream string) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			MaxIdleConns:        1024,
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		FlushInterval: -1,
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
