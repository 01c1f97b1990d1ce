package console_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// maxPicture is how large a picture in the documents may be, in bytes.
const maxPicture = 150 << 10

// TestScreens takes the pictures of the documents, from what a run of the demo leaves behind. It is no test, but what makes
// them: `make screens`.
func TestScreens(t *testing.T) {
	if os.Getenv("PENSTOCK_TEST_SCREENS") != "1" {
		t.Skip("make screens")
	}
	w := demoWorld(t)
	b := open(t, w.admin)
	b.signIn(w.adminKey)
	project := ""
	b.open("projects")
	b.eval(`document.querySelector("a.row").href`, &project)
	saved := "" // an exchange that fallback saved
	for page := b.root + "exchanges?range=all"; saved == "" && page != ""; {
		b.open(strings.TrimPrefix(page, b.root))
		b.eval(`document.querySelector("tr.warn a.row")?.href ?? ""`, &saved)
		b.eval(`document.querySelector("a[rel=next]")?.href ?? ""`, &page)
	}
	for name, page := range map[string]string{
		"now": "", "exchanges": "exchanges", "exchange": strings.TrimPrefix(saved, b.root), "project": strings.TrimPrefix(project, b.root), "audit": "audit",
		"usage": "usage", "latency": "latency", "models": "models", "prices": "prices",
	} {
		if pageOf("GET", page) == nil {
			continue // not in this version
		}
		for _, theme := range []string{"light", "dark"} {
			b.looks(theme, 1280)
			b.open(page)
			var shot []byte
			b.run(chromedp.CaptureScreenshot(&shot))
			small := squeeze(t, shot)
			if len(small) > maxPicture {
				t.Errorf("%s, %s: %d bytes, limit %d", name, theme, len(small), maxPicture)
			}
			file := filepath.Join("..", "..", "docs", "images", "console-"+name+"-"+theme+".png")
			if err := os.WriteFile(file, small, 0o644); err != nil { //nolint:gosec // a picture for everybody
				t.Fatal(err)
			}
		}
	}
}

// demoWorld lets the demo run, and serves what it leaves behind.
func demoWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	demo := exec.CommandContext(ctx, binary, "demo", "--for", "60s", "--rate", "12")
	demo.Dir, demo.Env = dir, environment()
	if out, err := demo.CombinedOutput(); err != nil {
		t.Fatalf("the demo: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "penstock-demo-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the demo left %q", found)
	}
	w := &world{file: filepath.Join(found[0], "penstock.yaml")}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	at, err := w.start("serve", "-c", w.file, "--json")
	if err != nil {
		t.Fatal(err)
	}
	w.admin = "http://" + at.Admin
	key, err := os.ReadFile(filepath.Join(found[0], "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	w.adminKey = strings.TrimSpace(string(key))
	return w
}

// squeeze writes a picture with the 256 colours that it has most of; others become the nearest of those. What is drawn here
// has few colours, and the rest are the soft edges of letters.
func squeeze(t *testing.T, picture []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	times := map[color.RGBA]int{}
	for y := range from.Bounds().Dy() {
		for x := range from.Bounds().Dx() {
			times[color.RGBAModel.Convert(from.At(x, y)).(color.RGBA)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(times), func(a, b color.RGBA) int {
		if times[a] != times[b] {
			return times[b] - times[a]
		}
		return (int(a.R)<<16 + int(a.G)<<8 + int(a.B)) - (int(b.R)<<16 + int(b.G)<<8 + int(b.B))
	})
	palette := color.Palette{}
	for _, c := range most[:min(len(most), 256)] {
		palette = append(palette, c)
	}
	to := image.NewPaletted(from.Bounds(), palette)
	draw.Draw(to, to.Bounds(), from, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
