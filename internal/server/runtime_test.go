package server

import (
	"encoding/pem"
	"net/http/httptest"
	"testing"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
)

// TestClientsAreKeptWhileTheyWouldBeTheSame: what counts is what a client was made of, not only what the file says.
func TestClientsAreKeptWhileTheyWouldBeTheSame(t *testing.T) {
	t.Parallel()
	house := httptest.NewTLSServer(nil)
	defer house.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: house.Certificate().Raw}))
	const proxy = "http://proxy.test:3128"
	for _, c := range []struct {
		name          string
		egress        config.Egress
		before, after map[string]string // the environment
		kept          bool
	}{
		{"nothing", config.Egress{}, nil, nil, true},
		{"the same of each", config.Egress{Proxy: proxy, CA: "env:CA"}, map[string]string{"CA": authority, "NO_PROXY": "a"}, map[string]string{"CA": authority, "NO_PROXY": "a"}, true},
		{"other authorities", config.Egress{CA: "env:CA"}, map[string]string{"CA": authority}, map[string]string{"CA": authority + authority}, false},
		{"another NO_PROXY", config.Egress{Proxy: proxy}, map[string]string{"NO_PROXY": "a"}, map[string]string{"NO_PROXY": "a,b"}, false},
		{"NO_PROXY is gone", config.Egress{Proxy: proxy}, map[string]string{"NO_PROXY": "a"}, nil, false},
		{"another NO_PROXY, and no proxy", config.Egress{}, map[string]string{"NO_PROXY": "a"}, map[string]string{"NO_PROXY": "b"}, true},
	} {
		cfg := &config.File{Egress: c.egress, Providers: map[string]provider.Config{"house": {Dialect: llm.OpenAI, BaseURL: house.URL}}}
		build := func(env map[string]string, old *runtime) *runtime {
			out, err := egressOf(c.egress, config.Resolver{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			made, err := new(Server).buildClient(cfg, "house", out, old)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return &runtime{clients: map[string]*client{"house": made}}
		}
		old := build(c.before, nil)
		if kept := build(c.after, old).clients["house"] == old.clients["house"]; kept != c.kept {
			t.Errorf("%s: the client was kept: %t, want %t", c.name, kept, c.kept)
		}
	}
}
