package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected files of the tests")

// env is an environment of the given variables and no others.
func env(pairs ...string) Lookup {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

var testEnv = env("OPENAI_API_KEY=k", "ANTHROPIC_API_KEY=k", "AWS_ACCESS_KEY_ID=k", "HTTPS_PROXY=http://10.0.0.1:3128", "EMPTY=",
	"ALERT_URL=https://alerts.example.com", "ALERT_SECRET=whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")

// golden compares got with a file, or writes the file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current; to write it, go test -update (-want +got):\n%s", path, diff)
	}
}

// Each mistake has a file of its own beside its exact message.
func TestMistakes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 35 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := Load(t.Context(), Options{File: file, Env: testEnv, References: true})
			if err == nil || f != nil {
				t.Fatalf("loaded, with error %v", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

// No message repeats what was put where a secret may have been meant.
func TestMessagesHoldNoSecret(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/*.bad.yaml")
	for _, file := range files {
		_, err := Load(t.Context(), Options{File: file, Env: testEnv, References: true})
		for _, secret := range []string{"Zm9vYmFyYmF6cXV4", "hunter2", "PRIVATE KEY"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %q is in the message:\n%v", file, secret, err)
			}
		}
	}
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range append(files, "testdata/example.yaml") {
		if _, err := Load(t.Context(), Options{File: file, Env: testEnv, References: true}); err != nil {
			t.Errorf("%v", err)
		}
	}
}
