package provider

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoolForgetsIdleConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int64
		begin := time.Now()
		tr := newTestTransport(t, Options{DialContext: pipes(func(p *peer) {
			answering(hello)(p)
			closed.Store(int64(time.Since(begin)))
		})})
		if _, _, err := exchange(t, tr, "http://up"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleTimeout - time.Second)
		synctest.Wait()
		if d := closed.Load(); d != 0 {
			t.Fatalf("closed after %v", time.Duration(d))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d := time.Duration(closed.Load()); d != idleTimeout {
			t.Errorf("closed after %v, want %v", d, idleTimeout)
		}
	})
}

func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{DialContext: pipes(answering(hello))})
		tr.idle.most = 2
		var open []*http.Response
		for range 4 {
			resp, err := tr.RoundTrip(post(t.Context(), "http://up", []byte("x")))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, resp)
		}
		for _, resp := range open {
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Fatal(err)
			}
		}
		if kept := len(tr.idle.idle[way{scheme: "http", addr: "up:80"}]); kept != 2 {
			t.Errorf("%d connections were kept, want 2", kept)
		}
		tr.CloseIdleConnections()
		if _, _, err := exchange(t, tr, "http://up"); err != nil {
			t.Fatal(err)
		}
		if len(tr.idle.idle) != 0 {
			t.Error("a closed transport keeps connections")
		}
	})
}
