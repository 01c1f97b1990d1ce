package server

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestKeptConfigs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, step := range []struct {
		name, text string
		changed    bool
		want       []string
	}{
		{"the first start", "one", true, []string{"one"}},
		{"the same again", "one", true, []string{"one"}},
		{"a change", "two", true, []string{"two", "one"}},
		{"other words only", "two # more", false, []string{"two # more", "one"}},
		{"another change", "three", true, []string{"three", "two # more"}},
		{"back", "two # more", true, []string{"two # more", "three"}},
		{"an empty file", "", true, []string{"", "two # more"}},
	} {
		if err := keep(dir, []byte(step.text), step.changed); err != nil {
			t.Fatal(err)
		}
		kept, err := KeptConfigs(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, text := range kept {
			got = append(got, string(text))
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: kept %q, want %q", step.name, got, step.want)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", file, info.Mode(), err)
		}
	}
}

func TestNoKeptConfigs(t *testing.T) {
	t.Parallel()
	if kept, err := KeptConfigs(filepath.Join(t.TempDir(), "nowhere")); err != nil || len(kept) != 0 {
		t.Errorf("kept %q, %v", kept, err)
	}
}
