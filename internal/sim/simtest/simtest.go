// Package simtest starts simulated providers for a test and stops them after it.
//
// It is for tests that need a real address. It is not for tests of time: those live in a testing/synctest bubble and
// use a [sim.PipeListener] themselves.
package simtest

import (
	"context"
	"net"
	"testing"

	"github.com/penstock/penstock/internal/sim"
)

// Model is the one that New's simulator prices: $1 a million prompt tokens, $0.50 cached ones, $4 generated ones.
const Model = "gpt-x"

// Config has one provider "default" without a key. It has the model [Model], and takes any other name too, at the same
// price. Answers have 8 tokens and no delays.
func Config() sim.Config {
	m := sim.Model{Price: sim.Price{Input: "1", Cached: "0.5", Output: "4"}, Output: "8"}
	return sim.Config{Seed: 1, Providers: map[string]sim.Provider{"default": {Models: map[string]sim.Model{Model: m, "*": m}}}}
}

// New starts a simulator with [Config] on a loopback port. base ends without a slash: base + "/v1" is the provider's
// base URL, base + "/_bill" the bill.
func New(tb testing.TB) (s *sim.Sim, base string) {
	tb.Helper()
	return Start(tb, Config())
}

// Start is New for a configuration of one's own.
func Start(tb testing.TB, c sim.Config) (s *sim.Sim, base string) {
	tb.Helper()
	s, err := sim.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("simulator: %v", err)
		}
	})
	return s, "http://" + l.Addr().String()
}
