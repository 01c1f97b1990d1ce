//go:build linux

package chaos

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Fault 56: half an hour of calls of which a fifth meets trouble, routed over three targets within budgets, limits and kept bodies.
// Memory does not grow, and goroutines and descriptors go back to what they were.
func TestFault56Soak(t *testing.T) {
	if !soak() {
		t.Skip("left out: it takes half an hour; PENSTOCK_SOAK=1 runs it")
	}
	minutes := 30
	if text := os.Getenv("PENSTOCK_SOAK_MINUTES"); text != "" {
		var err error
		if minutes, err = strconv.Atoi(text); err != nil || minutes < 2 {
			t.Fatalf("PENSTOCK_SOAK_MINUTES: %q", text)
		}
	}
	rng := draws(t)
	w := newWorld(t, rng, plan{config: providers + `models:
  even: { targets: ["sim-a/m?events=12&gap=2ms", "sim-b/m?events=12&gap=2ms", "sim-a/other?events=12&gap=2ms"], route: fastest }
  spill: { targets: ["sim-a/bad?plan=200,200,503,200,500&events=8", "sim-b/m?events=8"], route: failover }
`, targets: []string{"sim-a/m?events=12&gap=2ms", "sim-b/m?events=12&gap=2ms", "sim-a/other?events=12&gap=2ms", "sim-a/bad?plan=200,200,503,200,500&events=8", "sim-b/m?events=8"}})
	for _, b := range []map[string]any{{"amount": "1000"}, {"user": "*", "tokens": 1_000_000_000}} {
		b["project"], b["per"] = "chaos", "day"
		if err := w.admin("PUT", "/budgets", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	trouble := []string{"sim-a/x?status=500", "sim-a/x?cut=3:rst", "sim-a/x?garbage=2", "sim-b/x?usage=none&events=5", "sim-a/x?status=429&retry_after=1", "sim-b/x?error_at=2"}
	next := func(int, int) call {
		pause(t.Context(), time.Duration(50+draw(200))*time.Millisecond)
		c := call{model: []string{"even", "spill"}[draw(2)], stream: draw(3) > 0}
		switch draw(10) {
		case 0:
			c.model = trouble[draw(len(trouble))]
		case 1:
			c.stream, c.seen = true, func(soFar []byte) bool { return len(soFar) < 600 }
		}
		return c
	}
	warm := w.drive(12, next)
	<-time.After(20 * time.Second)
	warm.home()
	w.rest()
	goroutines, files := w.metric("go_goroutines"), w.serve.descriptors(t)
	f := w.drive(12, next)
	var at, rss []float64
	begun := time.Now()
	for ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute); ; {
		pause(ctx, time.Duration(minutes)*time.Second)
		if ctx.Err() != nil {
			cancel()
			break
		}
		if time.Since(begun) > time.Duration(minutes)*time.Minute/4 { // caches fill before
			at, rss = append(at, time.Since(begun).Hours()), append(rss, float64(w.serve.memory(t, "VmRSS"))/1e6)
		}
	}
	all := f.home()
	w.rest()
	grown := slope(at, rss)
	t.Logf("%d calls in %d minutes, %d not whole; %.0f MB at the end, %+.1f MB an hour; goroutines %v before and %v after, descriptors %d and %d",
		len(all), minutes, count(all, func(a answer) bool { return !a.whole }), rss[len(rss)-1], grown, goroutines, w.metric("go_goroutines"), files, w.serve.descriptors(t))
	if span := at[len(at)-1] - at[0]; grown*span > 16 {
		t.Errorf("memory grows: %+.1f MB an hour", grown)
	}
	if now := w.metric("go_goroutines"); now > goroutines+10 {
		t.Errorf("%v goroutines, before %v", now, goroutines)
	}
	if now := w.serve.descriptors(t); now > files+10 {
		t.Errorf("%d descriptors, before %d", now, files)
	}
	b := w.bill()
	w.compare(w.records(), nil, b)
	w.checkLedger()
}

// rest waits until nothing is under way, and the clients' connections are gone.
func (w *world) rest() {
	w.t.Helper()
	w.http.CloseIdleConnections()
	w.bill()
	<-time.After(5 * time.Second)
}

// slope is that of the least squares.
func slope(x, y []float64) float64 {
	var sx, sy, sxx, sxy float64
	n := float64(len(x))
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
