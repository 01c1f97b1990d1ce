package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/provider"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain.key": "s3cret", "newline.key": "s3cret\n", "windows.key": "s3cret\r\n", "two.key": "s3cret\n\n", "empty.key": "\n",
		"large.key": strings.Repeat("x", maxSecret+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Resolver{Dir: dir, Env: env("KEY=s3cret", "NEWLINE=s3cret\n", "EMPTY=", "SELF=env:SELF")}
	for _, c := range []struct{ ref, want, err string }{
		{"env:KEY", "s3cret", ""},
		{"env:NEWLINE", "s3cret", ""},
		{"env:SELF", "env:SELF", ""}, // a reference is followed once
		{"file:plain.key", "s3cret", ""},
		{"file:newline.key", "s3cret", ""},
		{"file:windows.key", "s3cret", ""},
		{"file:two.key", "s3cret\n", ""},
		{"file:" + filepath.Join(dir, "plain.key"), "s3cret", ""},
		{"env:NONE", "", "the variable NONE is not set"},
		{"env:EMPTY", "", "env:EMPTY is empty"},
		{"file:empty.key", "", "file:" + dir + "/empty.key is empty"},
		{"file:none.key", "", "file:" + dir + "/none.key cannot be read: no such file or directory"},
		{"file:large.key", "", "file:" + dir + "/large.key is larger than 1MiB"},
		{"env:sk-proj-Zm9vYmFyYmF6cXV4", "", "the variable [hidden] is not set"},
		{"sk-proj-Zm9vYmFyYmF6cXV4", "", "not a reference; write env:NAME or file:PATH"},
		{"", "", "not a reference; write env:NAME or file:PATH"},
	} {
		got, err := r.Resolve(c.ref)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got.Reveal() != c.want || message != c.err {
			t.Errorf("%s: got %q and %q, want %q and %q", c.ref, got.Reveal(), message, c.want, c.err)
		}
	}
}

// What a reference stands for is read anew each time.
func TestResolveSeesChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (Resolver{}).Resolve("file:" + path); err != nil || got.Reveal() != want {
			t.Errorf("got %q, %v, want %q", got.Reveal(), err, want)
		}
	}
}

// A file's references start at its directory, wherever the process runs.
func TestResolverOfAFile(t *testing.T) {
	t.Parallel()
	file := write(t, "providers: { openai: { dialect: openai, credential: file:keys/openai } }\n")
	keys := filepath.Join(filepath.Dir(file), "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "openai"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := load(t, Options{File: file, References: true})
	got, err := f.Resolver().Resolve(f.Providers["openai"].Credential)
	if err != nil || got.Reveal() != "s3cret" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

// Without Options.References nothing is looked for.
func TestReferencesAreOptional(t *testing.T) {
	t.Parallel()
	f := load(t, Options{File: write(t, "providers: { openai: { dialect: openai, credential: env:NONE } }\n")})
	want := provider.Config{Dialect: "openai", Credential: "env:NONE", Timeouts: f.Timeouts}
	if got := f.Providers["openai"]; got.Credential != want.Credential {
		t.Errorf("got %+v", got)
	}
}

func TestSuggestVariable(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string]string{
		"openai": "OPENAI_API_KEY", "my-house.2": "MY_HOUSE_2_API_KEY", "": "NAME", "7": "NAME", "été": "_T__API_KEY",
	} {
		if got := suggestVariable(owner); got != want {
			t.Errorf("%q: got %s, want %s", owner, got, want)
		}
	}
}

func TestLooksSecret(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"sk-proj-Zm9vYmFyYmF6cXV4", "AKIAIOSFODNN7EXAMPLE", "0123456789abcdef0123456789abcdef", " ghp_0123456789abcdef ",
		"123e4567-e89b-12d3-a456-426614174000", "https://me:pw@host/v1", "postgres://u:p@db/x", "http://me:p%zz@host",
		"eyJhbGciOiJIUzI1NiJ9.e30.x", "dGhpcyBpcyBhIHNlY3JldCA0Mg==", "-----BEGIN PRIVATE KEY-----",
	} {
		if !looksSecret(s) {
			t.Errorf("%q would be shown", s)
		}
	}
	for _, s := range []string{
		"", "gpt-5-mini", "claude-haiku-4-5-20251001", "openai/gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:acme::9aBcDeF1",
		"accounts/fireworks/models/llama-v3p1-405b-instruct", "https://me@host/v1", "http://10.0.0.7:8000/v1", "127.0.0.1:8080",
		"AZURE_OPENAI_API_KEY_2", "Qwen2.5-Coder-32B-Instruct", "/etc/penstock/tls.crt", "sk-1", "30s", "us-east-1",
	} {
		if looksSecret(s) {
			t.Errorf("%q would be hidden", s)
		}
	}
}

func TestCensor(t *testing.T) {
	t.Parallel()
	got := censor(`"sk-proj-Zm9vYmFyYmF6cXV4" is no "gpt-5\"mini" or "0123456789abcdef0123"`)
	if want := `[hidden] is no "gpt-5\"mini" or [hidden]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
