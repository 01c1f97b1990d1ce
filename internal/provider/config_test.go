package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := Config{Dialect: llm.OpenAI}
	with := func(change func(c *Config)) Config {
		c := good
		change(&c)
		return c
	}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"least", good, nil},
		{"all", Config{
			Dialect: llm.OpenAI, BaseURL: "http://10.0.0.7:8000/v1/", Credential: "file:key", Models: []string{"a", "b/c:d"},
			Timeouts: Timeouts{Gap: time.Second},
		}, nil},
		{"IPv6", with(func(c *Config) { c.BaseURL = "https://[::1]:8443/v1" }), nil},
		{"nothing", Config{}, []string{"providers.x.dialect: is missing (this version speaks openai, anthropic, azure, bedrock, gemini)"}},
		{"no dialect", Config{Dialect: "opanai"}, []string{`providers.x.dialect: "opanai" is not a dialect (this version speaks openai, anthropic, azure, bedrock, gemini)`}},
		{"relative", with(func(c *Config) { c.BaseURL = "localhost:8000/v1" }), []string{"providers.x.base_url: is not an absolute URL (such as http://10.0.0.7:8000/v1)"}},
		{"scheme", with(func(c *Config) { c.BaseURL = "ftp://up/v1" }), []string{`providers.x.base_url: begins with "ftp://" (http:// or https://)`}},
		{"user", with(func(c *Config) { c.BaseURL = "https://me:" + canary + "@up/v1" }), []string{"providers.x.base_url: holds a user or password (put the API key into credential, as env:NAME or file:PATH)"}},
		{"query", with(func(c *Config) { c.BaseURL = "https://up/v1?key=" + canary }), []string{"providers.x.base_url: has a query or fragment (end it with its path, such as http://10.0.0.7:8000/v1)"}},
		{"international", with(func(c *Config) { c.BaseURL = "https://bücher.test" }), []string{`providers.x.base_url: has the host "bücher.test" (write an international name in its xn-- form)`}},
		{"HTTP/2 without TLS", with(func(c *Config) { c.BaseURL, c.HTTP2 = "http://up", true }), []string{"providers.x.http2: needs TLS, and base_url begins with http:// (leave http2 out, or use https://)"}},
		{"literal", with(func(c *Config) { c.Credential = canary }), []string{"providers.x.credential: is not a reference to a secret (write env:NAME or file:PATH; the file never holds secrets)"}},
		{"several credentials", with(func(c *Config) { c.Credential, c.Credentials = "", []string{"env:A", "file:b"} }), nil},
		{"credentials in both places", with(func(c *Config) { c.Credential, c.Credentials = "env:A", []string{"env:B"} }), []string{"providers.x.credentials: stands beside credential (put all of them into credentials)"}},
		{"credentials twice, and a literal", with(func(c *Config) { c.Credential, c.Credentials = "", []string{"env:A", canary, "env:A"} }), []string{
			"providers.x.credentials[1]: is not a reference to a secret (write env:NAME or file:PATH; the file never holds secrets)",
			"providers.x.credentials[2]: is listed twice (it is credentials[0] too)",
		}},
		{"servers by the DNS", with(func(c *Config) { c.BaseURL, c.Discover, c.DiscoverEvery = "http://llm.test:8000/v1", "a", time.Second }), nil},
		{"servers by their records", with(func(c *Config) { c.BaseURL, c.Discover = "http://llm.test/v1", "srv" }), nil},
		{"servers of an address", with(func(c *Config) { c.BaseURL, c.Discover = "http://10.0.0.7/v1", "a" }), []string{
			"providers.x.discover: needs a name to look for, and base_url has none (write the name of the service, such as http://llm.models.svc:8000/v1)",
		}},
		{"servers of the vendor", with(func(c *Config) { c.BaseURL, c.Discover, c.DiscoverEvery = "", "dns", time.Millisecond }), []string{
			`providers.x.discover: "dns" is none of a, srv (write a, or srv)`,
			"providers.x.discover_every: 1ms is too often (write 1s or more)",
		}},
		{"a port twice", with(func(c *Config) { c.BaseURL, c.Discover = "http://llm.test:8000/v1", "srv" }), []string{
			"providers.x.base_url: has a port, and discover: srv finds ports by itself (leave the port out)",
		}},
		{"how often, of what is not done", with(func(c *Config) { c.DiscoverEvery = time.Minute }), []string{
			"providers.x.discover_every: stands without discover (write discover: a, or leave it out)",
		}},
		{"Azure", Config{Dialect: llm.Azure, BaseURL: "https://acme.openai.azure.com", APIVersion: "2024-10-21"}, nil},
		{"Azure without a resource", Config{Dialect: llm.Azure}, []string{"providers.x.base_url: is missing (the endpoint of your resource, such as https://NAME.openai.azure.com)"}},
		{"Azure's version", Config{Dialect: llm.Azure, BaseURL: "https://a.test", APIVersion: "no version"}, []string{`providers.x.api_version: "no version" is not a version (such as 2024-10-21)`}},
		{"Bedrock", Config{Dialect: llm.Bedrock, Region: "us-gov-west-1"}, nil},
		{"Bedrock by its address", Config{Dialect: llm.Bedrock, BaseURL: "https://bedrock-runtime.eu-central-1.amazonaws.com", Region: "Frankfurt"}, nil},
		{"Bedrock by an endpoint of one's own", Config{Dialect: llm.Bedrock, BaseURL: "https://vpce-0a1b.bedrock-runtime.eu-central-1.vpce.amazonaws.com"}, nil},
		{"Bedrock nowhere", Config{Dialect: llm.Bedrock}, []string{"providers.x.region: is missing (such as us-east-1: it is part of the address and of signatures)"}},
		{"Bedrock behind a proxy", Config{Dialect: llm.Bedrock, BaseURL: "https://up.test/bedrock", Region: "Frankfurt"}, []string{"providers.x.region: is no region of AWS (such as us-east-1: it is part of the address and of signatures)"}},
		{"Bedrock at a host that looks like it", Config{Dialect: llm.Bedrock, BaseURL: "https://bedrock-runtime.us-east-1.amazonaws.com.evil.test"}, []string{"providers.x.region: is missing (such as us-east-1: it is part of the address and of signatures)"}},
		{"a version elsewhere", with(func(c *Config) { c.APIVersion = "v1" }), []string{"providers.x.api_version: is for the dialect azure (leave it out)"}},
		{"everything at once", Config{Credential: "env:", Models: []string{"", "a", "a"}, Timeouts: Timeouts{Total: -1}}, []string{
			"providers.x.dialect: is missing (this version speaks openai, anthropic, azure, bedrock, gemini)",
			"providers.x.credential: is not a reference to a secret (write env:NAME or file:PATH; the file never holds secrets)",
			`providers.x.models[0]: "" is not the id of a model (write it as the provider has it)`,
			`providers.x.models[2]: "a" is listed twice (it is models[1] too)`,
			"providers.x.timeouts.total: -1ns is negative (write a positive duration such as 30s)",
		}},
	} {
		err := c.cfg.Validate("providers.x")
		got := ""
		if err != nil {
			got = err.Error()
		}
		if want := strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, want)
		}
		if strings.Contains(got, canary) {
			t.Errorf("%s: the problem shows the secret", c.name)
		}
	}
}

func TestDefaultBase(t *testing.T) {
	t.Parallel()
	for _, d := range Dialects() {
		if d == llm.Azure {
			continue // everybody has a resource of their own
		}
		u, err := (Config{Dialect: d, Region: "eu-west-1"}).Base()
		if err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("%s begins at %v, %v", d, u, err)
		}
	}
	if u, err := (Config{Dialect: llm.OpenAI, BaseURL: "http://up/v1/"}).Base(); err != nil || u.Path != "/v1" {
		t.Errorf("got %v, %v", u, err)
	}
}
