package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/route"
)

// write makes a file in a directory of the test and gives its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, o Options) *File {
	t.Helper()
	if o.Env == nil {
		o.Env = env()
	}
	f, err := Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// problems gives the message of a configuration that must be refused.
func problems(t *testing.T, o Options) string {
	t.Helper()
	_, err := Load(t.Context(), o)
	var p *Problems
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want *Problems", err)
	}
	return err.Error()
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	f := load(t, Options{})
	timeouts := provider.Timeouts{Connect: 3 * time.Second, FirstToken: 2 * time.Minute, Gap: 30 * time.Second, Total: 10 * time.Minute}
	got := []any{f.Listen, f.Admin, f.Data, f.Store, f.Keyring, f.Timeouts, f.ShutdownGrace, f.Auth.MaxStale, f.Usage.Records, f.Log, f.Limits.Body, len(f.Providers)}
	want := []any{
		"127.0.0.1:8080", Admin{Listen: "127.0.0.1:8081"}, "penstock-data", "sqlite:penstock-data/penstock.db",
		"file:penstock-data/keyring.json", timeouts, 30 * time.Second, 5 * time.Second, "on", Log{"info", "text"}, int64(20e6), 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.Origin("listen") != "default" || f.Path() != "" {
		t.Errorf("listen is from %q, the file is %q", f.Origin("listen"), f.Path())
	}
}

func TestEverySectionIsRead(t *testing.T) {
	t.Parallel()
	f := load(t, Options{File: "testdata/example.yaml"})
	no := false
	timers := provider.Timeouts{Connect: 3 * time.Second, FirstToken: 2 * time.Minute, Gap: 30 * time.Second, Total: 10 * time.Minute}
	patient := timers
	patient.FirstToken = 5 * time.Minute
	providers := map[string]provider.Config{
		"openai": {Dialect: llm.OpenAI, Credential: "env:OPENAI_API_KEY", Timeouts: timers},
		"house": {
			Dialect: llm.OpenAI, BaseURL: "http://10.0.0.7:8000/v1", Private: true, Region: "us-east",
			Models: []string{"qwen3-32b"}, Timeouts: timers,
		},
		"old": {Dialect: llm.OpenAI, BaseURL: "http://10.0.0.8:8000/v1", StreamUsage: &no, Timeouts: patient},
	}
	models := route.Config{"support": {
		Targets: route.Targets("openai/gpt-5-mini", "house/qwen3-32b", "old/llama-3.3-70b"), Route: "failover", Tries: 4, RetryWait: 5 * time.Second,
	}}
	got := []any{f.TLS, f.Egress, f.Providers, f.Models, f.Limits.InFlight}
	want := []any{TLS{Cert: "file:tls.crt", Key: "file:tls.key"}, Egress{"env:HTTPS_PROXY", "file:corporate-ca.pem"}, providers, models, int64(256e6)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Names of models have colons, which the YAML library mistakes for mappings in one place.
func TestColonsInNames(t *testing.T) {
	t.Parallel()
	f := load(t, Options{File: "testdata/colons.good.yaml"})
	want := route.Config{
		"small": {Targets: route.Targets("ollama/llama3.2:3b", "ollama/x:free", "ollama/a:b:c"), Route: "failover", Tries: 4, RetryWait: 5 * time.Second},
		"large": {Targets: route.Targets("ollama/llama3.3:70b"), Route: "failover", Tries: 4, RetryWait: 5 * time.Second},
	}
	if diff := cmp.Diff(want, f.Models); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"llama3.2:3b", "3:8b"}, f.Providers["ollama"].Models); diff != "" {
		t.Error(diff)
	}
}

// A mapping that somebody meant is not taken for a text.
func TestMappingsAreNotNames(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"[a: b]", "[{a: b}]", `["a":b]`, "[a:  b]"} {
		got := problems(t, Options{File: write(t, "models: { m: { targets: "+list+" } }\n"), Env: env()})
		if !strings.Contains(got, "a: unknown key") {
			t.Errorf("%s: %s", list, got)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := write(t, "listen: :1\nadmin: { listen: localhost:2 }\ndata: /file\nstore: sqlite:/file.db\n")
	all := map[string]string{"listen": ":10", "admin-listen": "localhost:20", "data": "/flag", "store": "sqlite:/flag.db"}
	variables := env("PENSTOCK_LISTEN=:100", "PENSTOCK_ADMIN_LISTEN=localhost:200", "PENSTOCK_DATA=/env", "PENSTOCK_STORE=sqlite:/env.db")
	at := file + ":"
	for _, c := range []struct {
		name    string
		o       Options
		values  [4]string
		origins [4]string
	}{
		{
			"defaults", Options{}, [4]string{"127.0.0.1:8080", "127.0.0.1:8081", "penstock-data", "sqlite:penstock-data/penstock.db"},
			[4]string{"default", "default", "default", "default"},
		},
		{"file", Options{File: file}, [4]string{":1", "localhost:2", "/file", "sqlite:/file.db"}, [4]string{at + "1", at + "2", at + "3", at + "4"}},
		{
			"variables", Options{File: file, Env: variables}, [4]string{":100", "localhost:200", "/env", "sqlite:/env.db"},
			[4]string{"PENSTOCK_LISTEN", "PENSTOCK_ADMIN_LISTEN", "PENSTOCK_DATA", "PENSTOCK_STORE"},
		},
		{
			"flags", Options{File: file, Env: variables, Flags: all}, [4]string{":10", "localhost:20", "/flag", "sqlite:/flag.db"},
			[4]string{"--listen", "--admin-listen", "--data", "--store"},
		},
		{
			"empty variable", Options{File: file, Env: env("PENSTOCK_LISTEN=")}, [4]string{":1", "localhost:2", "/file", "sqlite:/file.db"},
			[4]string{at + "1", at + "2", at + "3", at + "4"},
		},
		{
			"data alone", Options{Flags: map[string]string{"data": "d"}}, [4]string{"127.0.0.1:8080", "127.0.0.1:8081", "d", "sqlite:d/penstock.db"},
			[4]string{"default", "default", "--data", "default"},
		},
	} {
		f := load(t, c.o)
		got := [4]string{f.Listen, f.Admin.Listen, f.Data, f.Store}
		if diff := cmp.Diff(c.values, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		origins := [4]string{f.Origin("listen"), f.Origin("admin.listen"), f.Origin("data"), f.Origin("store")}
		if diff := cmp.Diff(c.origins, origins); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestRelativePaths(t *testing.T) {
	t.Parallel()
	file := write(t, "data: d\nstore: sqlite:s.db\nkeyring: file:../k.json\n")
	dir := filepath.Dir(file)
	f := load(t, Options{File: file})
	got := []string{f.Data, f.StorePath(), f.KeyringPath(), f.AdminKeyPath()}
	want := []string{dir + "/d", dir + "/s.db", filepath.Dir(dir) + "/k.json", dir + "/d/admin.key"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("from the file: %s", diff)
	}
	f = load(t, Options{File: file, Flags: map[string]string{"data": "d"}, Env: env("PENSTOCK_STORE=sqlite:s.db")})
	if diff := cmp.Diff([]string{"d", "s.db"}, []string{f.Data, f.StorePath()}); diff != "" {
		t.Errorf("from flag and variable: %s", diff)
	}
	f = load(t, Options{File: write(t, "")})
	if want := filepath.Join(filepath.Dir(f.Path()), "penstock-data", "penstock.db"); f.StorePath() != want {
		t.Errorf("default: got %s, want %s", f.StorePath(), want)
	}
}

func TestProblemsOutsideTheFile(t *testing.T) {
	t.Parallel()
	got := problems(t, Options{
		File: write(t, "log: { level: loud }\n"), Env: env("PENSTOCK_STORE=postgres://db"),
		Flags: map[string]string{"listen": "8080", "admin-listen": ":8081"},
	})
	want := []string{
		`--admin-listen: ":8081" can be reached from other machines, without TLS (set admin.tls, or listen on 127.0.0.1, or write admin.allow_plaintext: true)`,
		`--listen: "8080" is not HOST:PORT (write HOST:PORT, such as 127.0.0.1:8080 or :8080)`,
		`PENSTOCK_STORE: the store names no database (write postgres://USER@HOST/DATABASE; name the password in store_password, or leave it to PGPASSWORD or PGPASSFILE)`,
		`penstock.yaml:1:15: log.level: "loud" is not one of debug, info, warn, error`,
		`4 problems. Nothing was changed.`,
	}
	lines := strings.Split(got, "\n")
	lines[3] = lines[3][strings.Index(lines[3], "penstock.yaml"):]
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.yaml")
	want := missing + ": the file cannot be read: no such file or directory (check the path given with -c)\n1 problem. Nothing was changed."
	if got := problems(t, Options{File: missing}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := problems(t, Options{File: t.TempDir()}); !strings.Contains(got, "is a directory") {
		t.Errorf("a directory: %s", got)
	}
	large := write(t, strings.Repeat("# nothing\n", maxFile/10+1))
	if got := problems(t, Options{File: large}); !strings.Contains(got, "penstock.yaml:1:1: the file is larger than 1MiB") {
		t.Errorf("a large file: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	f := load(t, Options{Env: env(
		"OPENAI_API_KEY=k", "ANTHROPIC_API_KEY=k", "GOOGLE_API_KEY=k", "GROQ_API_KEY=k", "OLLAMA_HOST=0.0.0.0", "MISTRAL_API_KEY=",
		"DEEPSEEK_BASE_URL=http://10.0.0.7/v1", "AZURE_OPENAI_API_KEY=k",
		"AWS_BEARER_TOKEN_BEDROCK=k", "AWS_REGION=eu-west-1",
	)})
	discovered := Discovered{
		Found: []Found{
			{"openai", "OPENAI_API_KEY"}, {"anthropic", "ANTHROPIC_API_KEY"}, {"gemini", "GOOGLE_API_KEY"}, {"bedrock", "AWS_BEARER_TOKEN_BEDROCK"}, {"groq", "GROQ_API_KEY"}, {"deepseek", "DEEPSEEK_BASE_URL"}, {"ollama", "OLLAMA_HOST"},
		},
		Skipped: []string{
			"AZURE_OPENAI_API_KEY is set; AZURE_OPENAI_ENDPOINT, the endpoint of your resource, is not",
		},
	}
	if diff := cmp.Diff(discovered, f.Discovered); diff != "" {
		t.Error(diff)
	}
	for name, p := range map[string]provider.Config{
		"openai":   {Credential: "env:OPENAI_API_KEY", Vendor: "openai"},
		"gemini":   {Dialect: llm.Gemini, Credential: "env:GOOGLE_API_KEY", Vendor: "google"},
		"groq":     {BaseURL: "https://api.groq.com/openai/v1", Credential: "env:GROQ_API_KEY", Vendor: "groq"},
		"deepseek": {BaseURL: "http://10.0.0.7/v1"},
		"bedrock":  {Dialect: llm.Bedrock, Region: "eu-west-1", Credential: "env:AWS_BEARER_TOKEN_BEDROCK", Vendor: "amazon-bedrock"},
		"ollama":   {BaseURL: "http://127.0.0.1:11434/v1", Vendor: "ollama"},
	} {
		if p.Timeouts = f.Timeouts; p.Dialect == "" {
			p.Dialect = llm.OpenAI
		}
		if diff := cmp.Diff(p, f.Providers[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := f.Origin("providers.groq.base_url"); got != "GROQ_API_KEY" {
		t.Errorf("origin %q", got)
	}
}

// What a file says holds; the environment adds no provider to it.
func TestNothingIsDiscoveredBesideAFile(t *testing.T) {
	t.Parallel()
	f := load(t, Options{File: write(t, ""), Env: env("OPENAI_API_KEY=k")})
	if len(f.Providers) != 0 || len(f.Discovered.Found) != 0 {
		t.Errorf("found %v", f.Providers)
	}
}

func TestBadVariables(t *testing.T) {
	t.Parallel()
	got := problems(t, Options{Env: env("OPENAI_BASE_URL=localhost", "OLLAMA_HOST=http://me:hunter2@x")})
	for _, want := range []string{
		`OPENAI_BASE_URL: "localhost" is not a URL (write https://HOST/PATH)`,
		`OLLAMA_HOST: [hidden] is not an address (write HOST:PORT, such as 127.0.0.1:11434)`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestOllamaURL(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"127.0.0.1":              "http://127.0.0.1:11434/v1",
		"127.0.0.1:9000":         "http://127.0.0.1:9000/v1",
		"0.0.0.0:9000":           "http://127.0.0.1:9000/v1",
		":9000":                  "http://127.0.0.1:9000/v1",
		"[::]":                   "http://127.0.0.1:11434/v1",
		"gpu.corp":               "http://gpu.corp:11434/v1",
		"http://gpu.corp":        "http://gpu.corp:80/v1",
		"https://gpu.corp/":      "https://gpu.corp:443/v1",
		"https://gpu.corp/ai/v1": "https://gpu.corp:443/ai/v1",
		"ftp://gpu.corp":         "",
		"a b":                    "",
	} {
		got, err := ollamaURL(host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestUnknownFlagIsOurMistake(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_, _ = Load(t.Context(), Options{Flags: map[string]string{"colour": "blue"}, Env: env()})
}

// The password of the store is read each time that it is asked for.
func TestStoreOptionsReadThePasswordAgain(t *testing.T) {
	t.Parallel()
	path := write(t, "store: postgres://u@db/penstock?sslmode=disable\nstore_password: file:db\n")
	o := load(t, Options{File: path}).StoreOptions()
	if _, err := o.Password(); err == nil || o.Connections != 8 {
		t.Errorf("there is no file: %v; %d connections", err, o.Connections)
	}
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "db"), []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := o.Password(); err != nil || got.Reveal() != want {
			t.Errorf("got %v", err)
		}
	}
	if load(t, Options{}).StoreOptions().Password != nil {
		t.Error("a password without a reference")
	}
}
