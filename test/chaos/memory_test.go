//go:build linux

package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What 30,000 calls need is gone when they are over: 30,000 more add nothing.
func TestMemoryIsFlat(t *testing.T) {
	w := newWorld(t, draws(t), plan{
		config: "log: { level: warn }\n" + providers + "models: { fast: { targets: [sim-a/fast] } }\n", targets: []string{"sim-a/fast"},
	})
	rounds := longer(2, 10)
	w.closedLoop(1000, 16)
	w.http.CloseIdleConnections()
	goroutines, files := w.metric("go_goroutines"), w.serve.descriptors(t)
	var held []int64
	for range rounds {
		w.closedLoop(30_000, 16)
		held = append(held, w.serve.memory(t, "VmRSS"))
	}
	for i := 1; i < len(held); i++ {
		if grown := held[i] - held[0]; grown > 16<<20 {
			t.Errorf("%d MB after 30,000 calls, %d MB after %d", held[0]>>20, held[i]>>20, 30_000*(i+1))
		}
	}
	w.http.CloseIdleConnections()
	eventually(t, patience, "goroutines and files of before", func() error {
		g, n := w.metric("go_goroutines"), w.serve.descriptors(t)
		if g > goroutines+10 || n > files+20 { // 16 connections to the provider are kept
			return fmt.Errorf("%v goroutines, %v were; %d files, %d were", g, goroutines, n, files)
		}
		return nil
	})
	if open := w.metric("penstock_in_flight"); open != 0 {
		t.Errorf("%v exchanges are open", open)
	}
	var sums struct {
		Data []struct{ Requests, Errors int }
	}
	if err := w.admin("GET", "/usage", nil, &sums); err != nil {
		t.Fatal(err)
	}
	if want := 1000 + rounds*30_000; len(sums.Data) != 1 || sums.Data[0].Requests != want || sums.Data[0].Errors != 0 {
		t.Errorf("%+v for %d calls", sums.Data, want)
	}
	t.Logf("MB held after each 30,000 calls: %v; %v goroutines and %d files at rest", inMegabytes(held), goroutines, files)
}

func inMegabytes(bytes []int64) []int64 {
	out := make([]int64, len(bytes))
	for i, b := range bytes {
		out[i] = b >> 20
	}
	return out
}

// closedLoop makes n calls from so many clients, each of which waits for its answer.
func (w *world) closedLoop(n int64, clients int) {
	w.t.Helper()
	var left atomic.Int64
	left.Store(n)
	var done sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for client := range clients {
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if a := w.chat(ctx, call{model: "fast", stream: client%2 == 0}); !a.whole {
					w.t.Errorf("in a closed loop: %s", a)
					return
				}
			}
		})
	}
	done.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}
