package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
)

// Whatever the file holds, reading it ends, and what is wrong with it is said on one line each, with a place in the file.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := build(src, Options{File: "f.yaml", Env: env()})
		if err == nil {
			if file == nil {
				t.Fatal("neither file nor error")
			}
			Show(file)
			return
		}
		var p *Problems
		if !errors.As(err, &p) || len(p.List) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := 1 + strings.Count(string(src), "\n") + strings.Count(string(src), "\r")
		for _, one := range p.List {
			if one.Line < 1 || one.Line > lines+1 || one.Col < 1 || one.Text == "" {
				t.Errorf("place %d:%d of %d lines: %s", one.Line, one.Col, lines, one.Error())
			}
			if strings.ContainsFunc(one.Error(), unicode.IsControl) {
				t.Errorf("not one line of text: %q", one.Error())
			}
		}
	})
}

// A file at the limits, in shapes that parsers with recursion or backtracking suffer from.
func TestHostileFilesEndSoon(t *testing.T) {
	t.Parallel()
	const size = maxFile / 8 // enough for the limits, and soon over with the race detector
	for name, src := range map[string]string{
		"brackets":  strings.Repeat("[", size),
		"braces":    strings.Repeat("{a: ", size/4),
		"dashes":    strings.Repeat("- ", size/2),
		"questions": strings.Repeat("? ", size/2),
		"anchors":   "a: " + strings.Repeat("&a ", size/4),
		"tags":      "a: " + strings.Repeat("!a ", size/4),
		"quotes":    strings.Repeat(`"`, size),
		"stairs":    stairs(1000),
		"keys":      strings.Repeat("a:\n", size/3),
		"one line":  "data: " + strings.Repeat("a", size-6),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := build([]byte(src), Options{File: "f.yaml", Env: env()})
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if err == nil && name != "one line" {
				t.Error("no error")
			}
		})
	}
}

// stairs nests mappings by indentation.
func stairs(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// Starting and checking have 5 ms for this; allocations can be counted on a busy machine, milliseconds cannot. Each setting
// that is added costs some thirty.
func TestLoadIsCheap(t *testing.T) {
	const most = 6000
	got := testing.AllocsPerRun(10, func() {
		if _, err := Load(t.Context(), Options{File: "testdata/example.yaml", Env: testEnv, References: true}); err != nil {
			t.Fatal(err)
		}
	})
	if got > most {
		t.Errorf("%.0f allocations, at most %d", got, most)
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(b.Context(), Options{File: "testdata/example.yaml", Env: testEnv, References: true}); err != nil {
			b.Fatal(err)
		}
	}
}
