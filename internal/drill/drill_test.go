package drill

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load reads a configuration from text, with variables that no test may depend on.
func load(t *testing.T, text string) *config.File {
	t.Helper()
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(t.Context(), config.Options{File: file, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// everyDialect has a target in each form in which twins are called.
const everyDialect = `
listen: 0.0.0.0:8080
admin: { listen: "0.0.0.0:8081", tls: { cert: file:/not/there.pem, key: file:/not/there.key } }
data: /var/lib/penstock
store: postgres://penstock@db/penstock
store_password: env:DB
keyring_wrap: exec:/usr/bin/kms
egress: { proxy: "http://proxy:3128", ca: file:/not/there.pem }
audit: { checkpoints: "exec:/usr/bin/anchor" }
alerts: { webhook: env:HOOK, secret: env:HOOKSECRET }
telemetry: { endpoint: "http://collector:4318", headers: env:OTLP }
providers:
  openai: { dialect: openai, credentials: [env:A, env:B] }
  claude: { dialect: anthropic, vendor: anthropic, credential: env:X, region: us }
  az: { dialect: azure, base_url: "https://team.openai.azure.com", credential: env:X }
  azold: { dialect: azure, base_url: "https://team.openai.azure.com", api_version: "2024-10-21", credential: env:X }
  aws: { dialect: bedrock, base_url: "https://bedrock-runtime.eu-central-1.amazonaws.com", credential: env:X }
  goog: { dialect: gemini, credential: env:X }
  vertex: { dialect: gemini, base_url: "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1", credential: env:X }
  house: { dialect: openai, base_url: "http://10.0.0.7:8000/v1", private: true, models: [qwen3-32b] }
  found: { dialect: openai, base_url: "http://vllm.internal:8000/v1", private: true, models: [qwen3-32b], discover: a, discover_every: 10s }
  records: { dialect: openai, base_url: "http://vllm.internal/v1", private: true, models: [qwen3-32b], discover: srv }
models:
  zebra:
    route: weighted
    targets:
      - openai/gpt-4o-mini
      - claude/claude-haiku-4-5
      - az/gpt-4o-mini
      - azold/gpt-4o-mini
      - aws/eu.anthropic.claude-haiku-4-5-20251001-v1:0
      - goog/gemini-2.5-flash
      - vertex/gemini-2.5-flash
      - house/qwen3-32b
      - found/qwen3-32b
      - records/qwen3-32b
  alone: { targets: [openai/gpt-4o-mini] }
`

func TestEveryDialectHasATwinAndTheBooksAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Options{
				Scenario: s.Name, Config: load(t, everyDialect), Length: 4 * time.Second, Wait: 100 * time.Millisecond, Rate: 60, Seed: 7,
				Log: slog.New(slog.DiscardHandler), Version: "test",
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.Model != "zebra" || !slices.Equal(r.Troubled, []string{"openai/gpt-4o-mini"}) {
				t.Errorf("called %s with trouble of %v", r.Model, r.Troubled)
			}
			for _, one := range r.Tries {
				if one.Tries == 0 {
					t.Errorf("%s was never asked (seed %d)", one.Target, r.Seed)
				}
				if one.Failed > 0 && one.Target != r.Troubled[0] {
					t.Errorf("%s has no trouble, and failed: %v (seed %d)", one.Target, one.Reasons, r.Seed)
				}
			}
			if q := r.Phases[0]; q.Calls == 0 || len(q.Errors) > 0 && q.Errors[0].Kind != kindUnanswered {
				t.Errorf("quiet: %+v (seed %d)", q, r.Seed)
			}
			if !r.Books.Agree || r.Books.Ledger == 0 {
				t.Errorf("books: %+v (seed %d)", r.Books, r.Seed)
			}
			if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", d.dir, err)
			}
		})
	}
}

// Without models in the file, callers ask for a provider's by its own name; the twin has trouble and prices all the same.
func TestModelsThatTheFileDoesNotName(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	d, err := New(Options{
		Scenario: "outage", Config: load(t, "providers: { openai: { dialect: openai } }"), Model: "openai/gpt-4o-mini", Length: MinLength, Wait: 10 * time.Second, Rate: 20, Seed: 1,
		Log: slog.New(slog.DiscardHandler), Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !r.Books.Agree || r.Books.Ledger == 0 || r.Failed == 0 || len(r.Hints) != 1 || r.Hints[0].Key != "models" {
		t.Errorf("books %+v, failed %v, hints %v", r.Books, r.Failed, r.Hints)
	}
}

func TestTwinsHaveNothingOfWhatIsReal(t *testing.T) {
	t.Parallel()
	team, dir := load(t, everyDialect), t.TempDir()
	twins, err := newTwins(team, nil, dir, "127.0.0.1:9", 1)
	if err != nil {
		t.Fatal(err)
	}
	c := twins.cfg
	for what, value := range map[string]string{
		"listen": c.Listen, "admin.listen": c.Admin.Listen,
	} {
		if value != "127.0.0.1:0" {
			t.Errorf("%s: %s", what, value)
		}
	}
	for what, value := range map[string]string{
		"data": c.Data, "store": c.Store, "keyring": c.Keyring, "audit.key": c.Audit.Key,
	} {
		if !strings.Contains(value, dir) {
			t.Errorf("%s: %s", what, value)
		}
	}
	for what, value := range map[string]string{
		"store_password": c.Password, "keyring_wrap": c.Wrap, "egress.proxy": c.Egress.Proxy, "egress.ca": c.Egress.CA, "admin.tls": c.Admin.TLS.Cert,
		"checkpoints": c.Audit.Checkpoints, "webhook": c.Alerts.Webhook, "secret": c.Alerts.Secret, "telemetry": c.Telemetry.Endpoint,
		"headers": c.Telemetry.Headers,
	} {
		if value != "" {
			t.Errorf("%s: %s", what, value)
		}
	}
	for name, p := range c.Providers {
		if !strings.HasPrefix(p.BaseURL, "http://127.0.0.1:9/twin-"+name) {
			t.Errorf("%s is at %s", name, p.BaseURL)
		}
		if got, want := len(p.References()), len(team.Providers[name].References()); got != want {
			t.Errorf("%s has %d credentials, and the real one %d", name, got, want)
		}
		for _, ref := range p.References() {
			if !strings.HasPrefix(ref, "file:"+dir) {
				t.Errorf("%s has the credential %s", name, ref)
			}
		}
		if p.Private != team.Providers[name].Private || p.Dialect != team.Providers[name].Dialect {
			t.Errorf("%s is %+v", name, p)
		}
		if err := p.Validate("providers." + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := c.Providers["aws"].Region; got != "eu-central-1" {
		t.Errorf("the region that the address has told: %q", got)
	}
	if team.Providers["openai"].BaseURL != "" || team.Store == c.Store {
		t.Error("the real configuration has changed")
	}
}

func TestChoosing(t *testing.T) {
	t.Parallel()
	good := Options{Scenario: "outage", Config: load(t, everyDialect), Length: time.Minute, Rate: 20}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string // of the targets in trouble, or of the error
	}{
		"default":    {func(*Options) {}, "openai/gpt-4o-mini"},
		"model":      {func(o *Options) { o.Model = "alone" }, "openai/gpt-4o-mini"},
		"provider":   {func(o *Options) { o.Targets = []string{"vertex"} }, "vertex/gemini-2.5-flash"},
		"several":    {func(o *Options) { o.Targets = []string{"goog", "az/gpt-4o-mini"} }, "az/gpt-4o-mini goog/gemini-2.5-flash"},
		"stranger":   {func(o *Options) { o.Targets = []string{"nobody"} }, `has no target "nobody"`},
		"elsewhere":  {func(o *Options) { o.Model, o.Targets = "alone", []string{"claude"} }, `has no target "claude"`},
		"no model":   {func(o *Options) { o.Model = "lion" }, `there is no model "lion"`},
		"no name":    {func(o *Options) { o.Scenario = "storm" }, `there is no scenario "storm"`},
		"short":      {func(o *Options) { o.Length = time.Second }, "at least 2s"},
		"fast":       {func(o *Options) { o.Rate = 1e9 }, "at most 500"},
		"no rate":    {func(o *Options) { o.Rate = 0 }, "above 0"},
		"more share": {func(o *Options) { o.Allow = 1.5 }, "from 0 % to 100 %"},
	} {
		o := good
		c.change(&o)
		d, err := New(o)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = strings.Join(d.Troubled(), " ")
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestFaultsOfScenariosAreThere(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		for _, f := range s.faults {
			if err := sim.CheckKnobs(f.Do); err != nil || f.Share <= 0 || f.Share > 1 {
				t.Errorf("%s: %+v: %v", s.Name, f, err)
			}
		}
		if found, ok := Find(s.Name); !ok || found.Wire == "" || found.Bounds == "" || found.About == "" {
			t.Errorf("%s: %+v", s.Name, found)
		}
	}
}
