package console_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// What a page may take on a million exchanges, in milliseconds from the click: to the first paint, and at the server.
const (
	maxPaint  = 300
	maxServer = 150
)

// How long pages take on much data. It needs a Penstock that has some, such as a soak leaves behind: PENSTOCK_TEST_PAINT is
// the path of its configuration.
func TestFirstPaint(t *testing.T) {
	file := os.Getenv("PENSTOCK_TEST_PAINT")
	if file == "" {
		t.Skip("left out: PENSTOCK_TEST_PAINT names no configuration whose data has a million exchanges")
	}
	w := &world{file: file}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	at, err := w.start("serve", "-c", file, "--json")
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("PENSTOCK_TEST_PAINT_DATA")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(file), "data")
	}
	key, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		t.Fatalf("%v; PENSTOCK_TEST_PAINT_DATA names its data directory", err)
	}
	b := open(t, "http://"+at.Admin)
	b.signIn(strings.TrimSpace(string(key)))
	var pages []string
	b.eval(`[...document.querySelectorAll("header nav a")].map(a => a.href)`, &pages)
	for _, page := range pages {
		page = strings.TrimPrefix(page, b.root)
		if pageOf(http.MethodGet, page) == nil {
			t.Fatalf("no page %q", page)
		}
		var paints, servers []float64
		for range 7 {
			b.open(page)
			var took struct{ Paint, Server float64 }
			b.run(chromedp.Poll(`performance.getEntriesByName("first-contentful-paint").length > 0`, nil))
			b.eval(`(([nav]) => ({paint: performance.getEntriesByName("first-contentful-paint")[0].startTime, server: nav.responseStart - nav.requestStart}))(performance.getEntriesByType("navigation"))`, &took)
			paints, servers = append(paints, took.Paint), append(servers, took.Server)
		}
		slices.Sort(paints)
		slices.Sort(servers)
		t.Logf("%-10s first paint %4.0f ms (median of 7, longest %4.0f), at the server %4.0f ms", "/"+page, paints[3], paints[6], servers[3])
		if paints[3] > maxPaint || servers[3] > maxServer {
			t.Errorf("/%s: first paint %.0f ms, limit %d; at the server %.0f ms, limit %d", page, paints[3], maxPaint, servers[3], maxServer)
		}
	}
}
