package server_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

func TestSmoke(t *testing.T) {
	t0 := time.Now()
	e := penstocktest.Start(t, penstocktest.Options{})
	t.Log("start", time.Since(t0))
	k := e.Key("p")
	e.Price("sim-a/gpt-x")
	t.Log("key", time.Since(t0))
	a := e.Post(k, "/v1/chat/completions", penstocktest.Chat("sim-a/gpt-x", "hello", false))
	t.Log(a.Status, a.Header, a.Text(), time.Since(t0))
	a = e.Post(k, "/v1/chat/completions", penstocktest.Chat("sim-a/gpt-x", "hello", true))
	t.Log(a.Status, a.Header, a.Text(), time.Since(t0))
	t.Logf("%+v", e.Record(a.ID()))
	t.Log(e.CheckBill(), time.Since(t0))
	e.Stop()
	t.Log(time.Since(t0))
}
