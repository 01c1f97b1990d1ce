package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/provider"
)

func TestShow(t *testing.T) {
	t.Parallel()
	f := load(t, Options{
		File: "testdata/example.yaml", Env: env("PENSTOCK_DATA=/var/lib/penstock"), Flags: map[string]string{"listen": ":8443"},
	})
	golden(t, "testdata/example.show.yaml", Show(f))
}

// What is shown can be used as a file, and means the same.
func TestShowReadsBack(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/*.good.yaml")
	for _, file := range append(files, "testdata/example.yaml") {
		want := load(t, Options{File: file})
		var got File
		d := &decoder{places: map[string]place{}}
		d.decode(Show(want), &got)
		if len(d.list) > 0 {
			t.Errorf("%s: %v", file, &Problems{List: d.list})
		}
		if diff := cmp.Diff(want, &got, cmpopts.IgnoreUnexported(File{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestShowHidesSecrets(t *testing.T) {
	t.Parallel()
	f := load(t, Options{File: write(t, "providers: { p: { dialect: openai, region: us, models: [0123456789abcdef0123456789abcdef] } }\n")})
	if got := string(Show(f)); strings.Contains(got, "0123456789abcdef") || !strings.Contains(got, `models: ["[hidden]"]`) {
		t.Error(got)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	before := load(t, Options{File: write(t, `
data: /d
providers:
  openai: { dialect: openai, credential: env:OPENAI_API_KEY }
  house: { dialect: openai, base_url: http://10.0.0.7:8000/v1 }
models:
  support: { targets: [openai/gpt-5-mini] }
`)})
	after := load(t, Options{File: write(t, `
listen: 127.0.0.1:9090
data: /d
tls: { cert: file:a.crt, key: file:a.key }
providers:
  openai: { dialect: openai, credential: env:OPENAI_KEY, timeouts: { gap: 45s } }
timeouts: { gap: 1m, total: 20m }
models:
  support: { targets: [openai/gpt-5, openai/gpt-5-mini] }
`)})
	var got []string
	for _, c := range Plan(before, after) {
		if !strings.HasPrefix(c.Path, "providers.house.") {
			got = append(got, c.String())
		}
	}
	want := []string{
		"~ listen: 127.0.0.1:8080 -> 127.0.0.1:9090  (needs a restart)",
		"~ models.support.targets: [openai/gpt-5-mini] -> [openai/gpt-5, openai/gpt-5-mini]",
		"~ providers.openai.credential: env:OPENAI_API_KEY -> env:OPENAI_KEY",
		"+ providers.openai.timeouts.gap: 45s",
		"~ timeouts.gap: 30s -> 60s",
		"~ timeouts.total: 10m -> 20m",
		"+ tls.cert: file:a.crt  (needs a restart)",
		"+ tls.key: file:a.key  (needs a restart)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back := Plan(after, before)
	if len(back) == 0 || back[len(back)-1].String() != "- tls.key: file:a.key  (needs a restart)" {
		t.Errorf("the way back: %v", back)
	}
}

// Two values that look like secrets are shown alike; a change from one to the other is a change all the same.
func TestPlanSeesChangesOfWhatIsHidden(t *testing.T) {
	t.Parallel()
	tuned := func(model string) *File {
		return load(t, Options{File: write(t, "data: /d\nproviders: { p: { dialect: openai } }\nmodels: { m: { targets: [p/"+model+"] } }\n")})
	}
	changes := Plan(tuned("0123456789abcdef0123456789abcdef"), tuned("fedcba9876543210fedcba9876543210"))
	if len(changes) != 1 || changes[0].Path != "models.m.targets" || strings.Contains(changes[0].String(), "abcdef") {
		t.Errorf("%v", changes)
	}
}

func TestPlanOfTheSame(t *testing.T) {
	t.Parallel()
	f, g := load(t, Options{File: "testdata/example.yaml"}), load(t, Options{File: "testdata/example.yaml"})
	if changes := Plan(f, g); len(changes) > 0 {
		t.Errorf("%v", changes)
	}
}

func TestAdminURL(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8081": "http://127.0.0.1:8081", "localhost:1": "http://localhost:1", ":8081": "https://127.0.0.1:8081",
		"[::]:8081": "https://127.0.0.1:8081", "[::1]:8081": "http://[::1]:8081", "10.0.0.7:8081": "https://10.0.0.7:8081",
	} {
		text := `admin: { listen: "` + listen + `" }`
		if strings.HasPrefix(want, "https") {
			text = `admin: { listen: "` + listen + `", tls: { cert: file:tls.crt, key: env:KEY } }`
		}
		f := load(t, Options{File: write(t, text)})
		if got := f.AdminURL(); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
		if got := f.AdminCertificate(); f.Admin.TLS.On() && got != filepath.Join(filepath.Dir(f.Path()), "tls.crt") {
			t.Errorf("%s: certificate %s", listen, got)
		}
	}
	if got := load(t, Options{}).AdminCertificate(); got != "" {
		t.Errorf("no TLS: certificate %s", got)
	}
}

func TestVendor(t *testing.T) {
	t.Parallel()
	f := &File{Providers: map[string]provider.Config{
		"groq":    {Dialect: "openai", BaseURL: "http://proxy.corp/v1"},
		"main":    {Dialect: "openai"},
		"moved":   {Dialect: "openai", BaseURL: "https://api.groq.com/openai/v1"},
		"said":    {Dialect: "openai", BaseURL: "http://proxy.corp/v1", Vendor: "mistral"},
		"house":   {Dialect: "openai", BaseURL: "http://10.0.0.7:8000/v1"},
		"openai":  {Dialect: "openai", BaseURL: "http://10.0.0.7:8000/v1", Private: true},
		"mistral": {Dialect: "openai", BaseURL: "https://api.openai.com/v1"},
	}}
	for name, want := range map[string]string{
		"groq": "groq", "main": "openai", "moved": "groq", "said": "mistral", "house": "", "openai": "", "mistral": "openai",
	} {
		if got := f.Vendor(name, catalog.Default()); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
