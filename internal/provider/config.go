package provider

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Config is one provider as the configuration file declares it, under providers.NAME.
type Config struct {
	Dialect       llm.Dialect   `yaml:"dialect" enum:"openai,anthropic,azure,bedrock,gemini" doc:"the API that the provider speaks"`
	BaseURL       string        `yaml:"base_url" kind:"url" doc:"where the API begins, as the vendor's SDK has it (for openai with its /v1, for anthropic without, for azure the resource's endpoint, for gemini without, or for Vertex AI with the project and the location: .../v1/projects/P/locations/L); by default the vendor's own"`
	APIVersion    string        `yaml:"api_version" doc:"for azure: speak the older form, /openai/deployments/NAME, in this version, such as 2024-10-21; without, the newer, /openai/v1"`
	Credential    string        `yaml:"credential" kind:"reference" doc:"the API key as env:NAME or file:PATH, read again when it changes; without, none is sent; for bedrock an API key or an access key, ID:SECRET or ID:SECRET:SESSION, or JSON as of aws configure export-credentials; for gemini an API key, or for Vertex AI an access token"`
	Credentials   []string      `yaml:"credentials" kind:"reference" doc:"in place of credential, several of them: when one is at its rate limit, or is refused, the next is used"`
	Models        []string      `yaml:"models" doc:"the models that it has; by default those that the catalogue knows of its vendor"`
	Vendor        string        `yaml:"vendor" doc:"whose models and prices these are in the catalogue, if the provider's name does not say it"`
	Private       bool          `yaml:"private" doc:"the data stays with you: your own servers"`
	Region        string        `yaml:"region" doc:"where the data goes, in your own words; for bedrock the AWS region that is called, if base_url does not say it"`
	StreamUsage   *bool         `yaml:"stream_usage" doc:"false for servers that refuse stream_options; default true"`
	ServiceTiers  bool          `yaml:"service_tiers" doc:"pass service_tier on, to be served and priced by it"`
	Takes         []string      `yaml:"takes" doc:"for openai: what requests that are translated may hold beyond what all servers take: max_completion_tokens, reasoning_effort, reasoning_content (of earlier turns), top_k, cache_control, and responses if they speak that, too (/v1/responses); the catalogue knows it of the vendors that it knows"`
	Discover      string        `yaml:"discover" enum:"a,srv" doc:"for servers of your own: find all that the DNS has for the host of base_url, and send calls to each; a: by its addresses, srv: by its records _http._tcp.HOST, or HOST's own if that begins with _"`
	DiscoverEvery time.Duration `yaml:"discover_every" doc:"with discover: how often; 5s if it is not set"`
	Probe         time.Duration `yaml:"probe" doc:"how often to ask for the list of models, which costs nothing, so that a server that is down is known before a call finds out, and one that is back at once; 10s with private: true, else not at all"`
	HTTP2         bool          `yaml:"http2" doc:"speak HTTP/2: fewer connections, more CPU time"`
	Timeouts      Timeouts      `yaml:"timeouts" doc:"timers of this provider; what is not set is taken from timeouts"`
}

// Dialects are the dialects that this version speaks towards providers.
func Dialects() []llm.Dialect {
	return []llm.Dialect{llm.OpenAI, llm.Anthropic, llm.Azure, llm.Bedrock, llm.Gemini}
}

// defaultBase says where a vendor's own API begins.
var defaultBase = map[llm.Dialect]string{
	llm.OpenAI: "https://api.openai.com/v1", llm.Anthropic: "https://api.anthropic.com", llm.Gemini: "https://generativelanguage.googleapis.com",
}

// Validate reports everything that is wrong with the section, as fault.Problems joined; path is where it stands, such as
// "providers.house". It looks at nothing but the section.
func (c Config) Validate(path string) error {
	var problems []error
	add := func(key, text, hint string) {
		problems = append(problems, fault.Problem{Path: path + "." + key, Text: text, Hint: hint})
	}
	switch {
	case c.Dialect == "":
		add("dialect", "is missing", "this version speaks "+list(Dialects()))
	case !slices.Contains(Dialects(), c.Dialect):
		add("dialect", fmt.Sprintf("%q is not a dialect", c.Dialect), "this version speaks "+list(Dialects()))
	}
	c.validateURL(add)
	c.validateAzure(add)
	c.validateBedrock(add)
	c.validateCredentials(add)
	c.validateDiscovery(add)
	if c.Probe != 0 && c.Probe < time.Second {
		add("probe", c.Probe.String()+" is too often", "write 1s or more")
	}
	for i, m := range c.Models {
		key := fmt.Sprintf("models[%d]", i)
		if strings.TrimSpace(m) != m || m == "" {
			add(key, fmt.Sprintf("%q is not the id of a model", m), "write it as the provider has it")
		} else if first := slices.Index(c.Models, m); first < i {
			add(key, fmt.Sprintf("%q is listed twice", m), fmt.Sprintf("it is models[%d] too", first))
		}
	}
	if _, unknown := llm.TakesOf(c.Takes); unknown != "" {
		add("takes", fmt.Sprintf("%q is unknown", unknown), "it knows "+strings.Join(llm.TakesNames(), ", "))
	}
	c.Timeouts.validate(add)
	return errors.Join(problems...)
}

func (c Config) validateCredentials(add func(key, text, hint string)) {
	const problem, hint = "is not a reference to a secret", "write env:NAME or file:PATH; the file never holds secrets"
	if c.Credential != "" && !isReference(c.Credential) {
		add("credential", problem, hint)
	}
	if c.Credential != "" && len(c.Credentials) > 0 {
		add("credentials", "stands beside credential", "put all of them into credentials")
	}
	if len(c.Credentials) > maxCredentials {
		add("credentials", fmt.Sprintf("has more than %d", maxCredentials), "remove some")
	}
	for i, ref := range c.Credentials {
		key := fmt.Sprintf("credentials[%d]", i)
		if first := slices.Index(c.Credentials, ref); !isReference(ref) {
			add(key, problem, hint)
		} else if first < i {
			add(key, "is listed twice", fmt.Sprintf("it is credentials[%d] too", first))
		}
	}
}

func (c Config) validateDiscovery(add func(key, text, hint string)) {
	u, err := url.Parse(c.BaseURL)
	switch {
	case c.Discover == "" && c.DiscoverEvery != 0:
		add("discover_every", "stands without discover", "write discover: a, or leave it out")
	case c.Discover == "":
	case c.Discover != DiscoverA && c.Discover != DiscoverSRV:
		add("discover", fmt.Sprintf("%q is none of a, srv", c.Discover), "write a, or srv")
	case c.BaseURL == "" || err != nil || net.ParseIP(u.Hostname()) != nil:
		add("discover", "needs a name to look for, and base_url has none", "write the name of the service, such as http://llm.models.svc:8000/v1")
	case c.Discover == DiscoverSRV && u.Port() != "":
		add("base_url", "has a port, and discover: srv finds ports by itself", "leave the port out")
	}
	if c.Discover != "" && c.DiscoverEvery != 0 && c.DiscoverEvery < time.Second {
		add("discover_every", c.DiscoverEvery.String()+" is too often", "write 1s or more")
	}
}

// maxCredentials bounds how many credentials one provider has.
const maxCredentials = 64

// References are those of all credentials, in the order that [Via] counts them by; none if none is sent.
func (c Config) References() []string {
	if c.Credential != "" {
		return []string{c.Credential}
	}
	return c.Credentials
}

func (c Config) validateURL(add func(key, text, hint string)) {
	if c.BaseURL == "" {
		return
	}
	const example = "such as http://10.0.0.7:8000/v1"
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		add("base_url", "is not an absolute URL", example)
		return
	case u.Scheme != "http" && u.Scheme != "https":
		add("base_url", fmt.Sprintf("begins with %q", u.Scheme+"://"), "http:// or https://")
	case u.User != nil:
		add("base_url", "holds a user or password", "put the API key into credential, as env:NAME or file:PATH")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		add("base_url", "has a query or fragment", "end it with its path, "+example)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' }):
		add("base_url", fmt.Sprintf("has the host %q", u.Host), "write an international name in its xn-- form")
	}
	if c.HTTP2 && u.Scheme == "http" {
		add("http2", "needs TLS, and base_url begins with http://", "leave http2 out, or use https://")
	}
}

// validateAzure looks at what concerns one dialect only.
func (c Config) validateAzure(add func(key, text, hint string)) {
	switch {
	case c.Dialect != llm.Azure && c.APIVersion != "":
		add("api_version", "is for the dialect azure", "leave it out")
	case c.Dialect == llm.Azure && c.BaseURL == "":
		add("base_url", "is missing", "the endpoint of your resource, such as https://NAME.openai.azure.com")
	case strings.ContainsFunc(c.APIVersion, func(r rune) bool { return r <= ' ' || r > '~' }):
		add("api_version", fmt.Sprintf("%q is not a version", c.APIVersion), "such as 2024-10-21")
	}
}

func (t Timeouts) validate(add func(key, text, hint string)) {
	for _, timer := range []struct {
		name  string
		value time.Duration
	}{{"connect", t.Connect}, {"first_token", t.FirstToken}, {"gap", t.Gap}, {"total", t.Total}} {
		if timer.value < 0 {
			add("timeouts."+timer.name, timer.value.String()+" is negative", "write a positive duration such as 30s")
		}
	}
}

// Or takes from fallback what is not set.
func (t Timeouts) Or(fallback Timeouts) Timeouts {
	pick := func(a, b time.Duration) time.Duration {
		if a != 0 {
			return a
		}
		return b
	}
	return Timeouts{
		Connect: pick(t.Connect, fallback.Connect), FirstToken: pick(t.FirstToken, fallback.FirstToken),
		Gap: pick(t.Gap, fallback.Gap), Total: pick(t.Total, fallback.Total),
	}
}

// Base is where the API begins: as configured, without a slash at the end, or the vendor's own.
func (c Config) Base() (*url.URL, error) {
	raw := c.BaseURL
	switch {
	case raw == "" && c.Dialect == llm.Bedrock:
		raw = bedrockBase(c.Region)
	case raw == "":
		raw = defaultBase[c.Dialect]
	}
	return url.Parse(strings.TrimRight(raw, "/"))
}

// isReference reports whether s refers to a secret instead of being one.
func isReference(s string) bool {
	kind, rest, _ := strings.Cut(s, ":")
	return (kind == "env" || kind == "file") && rest != ""
}

func list(dialects []llm.Dialect) string {
	names := make([]string, len(dialects))
	for i, d := range dialects {
		names[i] = string(d)
	}
	return strings.Join(names, ", ")
}
