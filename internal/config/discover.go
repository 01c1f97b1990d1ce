package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
)

// Discovered is what the environment offered where there is no file.
type Discovered struct {
	// Found are the providers, in the order of the documentation.
	Found []Found
	// Skipped are sentences about variables whose provider this version cannot use.
	Skipped []string
}

// Found is a provider and the variable that it came from.
type Found struct{ Provider, Variable string }

// A vendor is a provider that is usually named by variables.
type vendor struct {
	name    string
	keys    []string // variables with the API key; the first that is set counts
	baseURL string   // variable that overrides the address
	address string   // "" is the dialect's own
	dialect llm.Dialect
	catalog string // its name in the catalogue
}

// vendors are known by the variables of their own SDKs and documentation.
var vendors = []vendor{
	{"openai", []string{"OPENAI_API_KEY"}, "OPENAI_BASE_URL", "", llm.OpenAI, "openai"},
	{"anthropic", []string{"ANTHROPIC_API_KEY"}, "ANTHROPIC_BASE_URL", "", llm.Anthropic, "anthropic"},
	{"gemini", []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}, "GEMINI_BASE_URL", "", llm.Gemini, "google"},
	{"azure", []string{"AZURE_OPENAI_API_KEY"}, "AZURE_OPENAI_ENDPOINT", "", llm.Azure, "azure"},
	{"bedrock", []string{"AWS_BEARER_TOKEN_BEDROCK"}, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "", llm.Bedrock, "amazon-bedrock"},
	{"groq", []string{"GROQ_API_KEY"}, "GROQ_BASE_URL", "https://api.groq.com/openai/v1", llm.OpenAI, "groq"},
	{"mistral", []string{"MISTRAL_API_KEY"}, "MISTRAL_BASE_URL", "https://api.mistral.ai/v1", llm.OpenAI, "mistral"},
	{"deepseek", []string{"DEEPSEEK_API_KEY"}, "DEEPSEEK_BASE_URL", "https://api.deepseek.com/v1", llm.OpenAI, "deepseek"},
	{"openrouter", []string{"OPENROUTER_API_KEY"}, "OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1", llm.OpenAI, "openrouter"},
	{"together", []string{"TOGETHER_API_KEY"}, "TOGETHER_BASE_URL", "https://api.together.xyz/v1", llm.OpenAI, "togetherai"},
	{"xai", []string{"XAI_API_KEY"}, "XAI_BASE_URL", "https://api.x.ai/v1", llm.OpenAI, "xai"},
}

// discover finds providers in the environment. It is called where there is no file only: with one, the file says what
// there is.
func (d *decoder) discover(f *File) {
	f.Providers = map[string]provider.Config{}
	for _, v := range vendors {
		if p, variable := d.fromEnv(f, v); variable != "" {
			f.found(v.name, variable, p)
		}
	}
	if host, _ := f.env("OLLAMA_HOST"); host != "" {
		base, err := ollamaURL(host)
		if err != nil {
			d.add(0, 0, "OLLAMA_HOST", err.Error(), "write HOST:PORT, such as 127.0.0.1:11434")
			return
		}
		f.found("ollama", "OLLAMA_HOST", provider.Config{Dialect: llm.OpenAI, BaseURL: base, Vendor: "ollama"})
	}
}

// found adds a provider.
func (f *File) found(name, variable string, p provider.Config) {
	f.Providers[name] = p
	f.Discovered.Found = append(f.Discovered.Found, Found{Provider: name, Variable: variable})
	for _, key := range []string{"dialect", "base_url", "credential", "vendor"} {
		f.origins["providers."+name+"."+key] = variable
	}
}

// fromEnv makes a vendor's provider, and names the variable that told of it; "" if there is none, or none of use. An
// address without a key is enough: one's own server may want none.
func (d *decoder) fromEnv(f *File, v vendor) (p provider.Config, variable string) {
	p = provider.Config{Dialect: v.dialect, BaseURL: v.address, Vendor: v.catalog}
	base, _ := f.env(v.baseURL)
	if base != "" {
		p.BaseURL, p.Vendor, variable = base, "", v.baseURL // the address may be another vendor's
	}
	for _, key := range slices.Backward(v.keys) {
		if value, _ := f.env(key); value != "" {
			p.Credential, variable = "env:"+key, key
		}
	}
	if v.dialect == llm.Bedrock {
		if p.Region, _ = f.env("AWS_REGION"); p.Region == "" {
			p.Region, _ = f.env("AWS_DEFAULT_REGION")
		}
	}
	switch {
	case variable == "":
	case v.dialect == llm.Bedrock && p.Region == "" && base == "":
		f.Discovered.Skipped = append(f.Discovered.Skipped, fmt.Sprintf("%s is set; AWS_REGION, where its models are called, is not", variable))
		return p, ""
	case v.dialect == llm.Azure && base == "":
		f.Discovered.Skipped = append(f.Discovered.Skipped, fmt.Sprintf("%s is set; %s, the endpoint of your resource, is not", variable, v.baseURL))
		return p, ""
	case base != "":
		if text, hint := checkURL(base, v.name); text != "" {
			d.add(0, 0, v.baseURL, text, hint)
		}
	}
	return p, variable
}

// ollamaURL gives the OpenAI-compatible API of what OLLAMA_HOST names: a host, HOST:PORT or a URL. Servers are told the
// address to listen on by the same variable, so "all addresses" means this machine.
func ollamaURL(host string) (string, error) {
	scheme, rest, found := strings.Cut(host, "://")
	if !found {
		scheme, rest = "http", host
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || scheme != "http" && scheme != "https" || u.User != nil {
		return "", fmt.Errorf("%s is not an address", quote(host))
	}
	name, port := u.Hostname(), u.Port()
	if name == "" || name == "0.0.0.0" || name == "::" {
		name = "127.0.0.1"
	}
	if port == "" {
		port = ollamaPort(scheme, found)
	}
	u.Host = net.JoinHostPort(name, port)
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1") + "/v1"
	u.RawQuery, u.Fragment = "", ""
	return u.String(), nil
}

// ollamaPort is the port of an address that names none: that of its scheme, or Ollama's own if it has no scheme either.
func ollamaPort(scheme string, named bool) string {
	switch {
	case !named:
		return "11434"
	case scheme == "https":
		return "443"
	}
	return "80"
}
