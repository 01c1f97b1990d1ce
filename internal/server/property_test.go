package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
)

// A visit is one request of the mix: what is asked for, and how long its client stays.
type visit struct {
	model, path, body string
	leaves            int // after so many bytes of the answer; below 0: it stays
	authenticated     bool
}

// misbehaviours are what the first of two targets may do.
var misbehaviours = []string{
	"tag=none", "usage=none", "usage=twice", "usage=early", "cut=0", "cut=4&flush=1", "cut=4:rst&flush=1", "error_at=0", "error_at=3", "garbage=2", "garbage=1",
	"status=500", "status=503&retry_after=1", "status=429", "status=400", "status=401", "empty=1", "comments=only", "bytewise=1&events=3", "gap=2ms&events=30",
	"first=5ms", "no_done=1", "no_finish=1&no_done=1", "html=1", "tool_calls=2", "reasoning=5", "encoding=gzip", "plain_for_stream=1",
}

func drawVisit(rt *rapid.T) visit {
	i := rapid.IntRange(0, len(misbehaviours)-1).Draw(rt, "misbehaviour")
	v := visit{
		model: fmt.Sprintf("%s-%d", rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "targets"), i), path: chatPath, leaves: -1, authenticated: true,
	}
	prompt := strings.Repeat("cat ", rapid.IntRange(1, 200).Draw(rt, "prompt"))
	v.body = penstocktest.Chat(v.model, prompt, rapid.Bool().Draw(rt, "stream"))
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 0:
		v.path, v.body = embedPath, fmt.Sprintf(`{"model":%q,"input":%q}`, v.model, prompt)
	case 1:
		v.body = v.body[:len(v.body)/2]
	case 2:
		v.body = penstocktest.Chat("not-there", prompt, false)
	case 3:
		v.authenticated = false
	case 4, 5:
		v.leaves = rapid.IntRange(0, 6000).Draw(rt, "leaves")
	}
	return v
}

// visit asks, and reads as much of the answer as the visit wants.
func (w *world) visit(v visit) {
	key := w.key
	if !v.authenticated {
		key = "psk_nobody-knows-this-key"
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	resp, err := w.Ask(ctx, http.MethodPost, key, v.path, v.body)
	if err != nil {
		w.t.Errorf("%s: %v", v.model, err)
		return
	}
	defer resp.Body.Close()
	if v.leaves >= 0 {
		_, _ = io.CopyN(io.Discard, resp.Body, int64(v.leaves)) // and the connection is closed with the rest unread
		return
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		w.t.Errorf("%s: %v", v.model, err)
	}
}

// recorded counts the records in the store.
func (w *world) recorded() int {
	w.t.Helper()
	var sums admin.Usage
	w.Admin(http.MethodGet, "/usage?group_by=project", nil, &sums)
	n := 0
	for _, s := range sums.Data {
		n += int(s.Requests)
	}
	return n
}

// TestFault20WhateverHappensTheBooksBalance: any mix of requests, misbehaving providers and clients that leave ends with one
// record for each authenticated exchange, with records that are the providers' bill, and with nothing held.
func TestFault20WhateverHappensTheBooksBalance(t *testing.T) {
	models := map[string][]string{}
	var targets []string
	for i, knobs := range misbehaviours {
		first, second := fmt.Sprintf("sim-a/gpt-5-mini?%s&tag=%d", knobs, i), fmt.Sprintf("sim-b/gpt-5-nano-%d", i)
		models[fmt.Sprintf("one-%d", i)], models[fmt.Sprintf("two-%d", i)] = []string{first}, []string{first, second}
		targets = append(targets, first, second)
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	w.Price(targets...)
	w.ask("one-0", "hello", false)
	w.AtRest()
	before := runtime.NumGoroutine()
	want := 1
	rapid.Check(t, func(rt *rapid.T) {
		visits := rapid.SliceOfN(rapid.Custom(drawVisit), 1, 12).Draw(rt, "visits")
		var all sync.WaitGroup
		for _, v := range visits {
			all.Go(func() { w.visit(v) })
			if v.authenticated {
				want++
			}
		}
		all.Wait()
		w.AtRest()
		if n := w.recorded(); n != want {
			rt.Fatalf("%d records of %d exchanges", n, want)
		}
		if t.Failed() {
			rt.FailNow()
		}
	})
	w.CheckBill()
	w.Client.CloseIdleConnections()
	if !penstocktest.Eventually(func() bool { return runtime.NumGoroutine() <= before+10 }) {
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
}
