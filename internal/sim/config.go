package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Bounds of what a configuration or a knob may ask for.
const (
	maxTokens  = 1_000_000
	maxSlots   = 100_000
	maxPrefill = 100_000_000     // tokens a second
	maxDelay   = 24 * 3600 * 1e9 // nanoseconds
	anyModel   = "*"
)

// A Config is a set of simulated providers. Delays, lengths and prices are text, as written in the file; [Config.Validate]
// says what is wrong with them.
type Config struct {
	// Listen is where the server listens. The package does not open it: whoever calls [Sim.Run] does.
	Listen string `yaml:"listen"`
	// Seed decides every draw. Two runs with one seed draw the same for a model's n-th call.
	Seed uint64 `yaml:"seed"`
	// Providers by name; the name is the first part of the path: /NAME/v1/chat/completions.
	Providers map[string]Provider `yaml:"providers"`
}

// A Provider is one simulated company.
type Provider struct {
	// Dialect is the API it speaks; the default is openai.
	Dialect string `yaml:"dialect"`
	// Key, if not "", must be sent as bearer or api-key; a key of bedrock in the form ID:SECRET must sign.
	Key string `yaml:"key"`
	// Models by name. The name "*" stands for any other name.
	Models map[string]Model `yaml:"models"`
	// Outages by the clock, from the moment the Sim was made.
	Outages   []Outage  `yaml:"outages"`
	RateLimit RateLimit `yaml:"rate_limit"`
}

// A Model is how one model behaves.
type Model struct {
	Price Price `yaml:"price"`
	// FirstToken is the delay before the first content, Gap between two events: "300ms", "lognormal(300ms, 2s)".
	FirstToken string `yaml:"first_token"`
	Gap        string `yaml:"gap"`
	// Slots is how many calls the model's server works on at once, and 0 is as many as come. The others wait in the order in
	// which they came; their prompts are not begun, and cost nothing if they leave.
	Slots int `yaml:"slots"`
	// Prefill is how many prompt tokens a second the server reads, one prompt after the other; 0 takes no time. Tokens in its
	// cache are not read. So the time to the first token is the wait for a slot and for the prompts before, the prompt's own
	// time, and FirstToken.
	Prefill int `yaml:"prefill"`
	// Output is how many tokens an answer has: "50", "lognormal(129, 601)". Default 50.
	Output string `yaml:"output"`
	// TokensPerEvent is how many tokens a stream's event carries. Default 1.
	TokensPerEvent int `yaml:"tokens_per_event"`
	// CachedShare is the share of the prompt that counts as cached, 0 to 1.
	CachedShare float64 `yaml:"cached_share"`
	// Dimensions of an embedding. Default 256.
	Dimensions int `yaml:"dimensions"`
	// Do are knobs that always hold: "usage=none&crlf=1". See [Knobs].
	Do string `yaml:"do"`
	// Faults are knobs that hold for a share of the calls.
	Faults []Fault `yaml:"faults"`
	// Fast answers every chat call with the same 50 tokens from prepared bytes, for benchmarks: no knobs, no delays, not
	// in the request log, prompt tokens counted as a quarter of the body's bytes.
	Fast bool `yaml:"fast"`
}

// A Price is what the provider bills, in US dollars per million tokens and for each call and search, as decimal text. "" is 0; a Cached
// or Write of "" is Input, and what has no rate of its own costs what it is a part of: an hour 1.6 times
// Write, where that is above Input.
type Price struct {
	Input  string `yaml:"input"`
	Cached string `yaml:"cached"`
	Output string `yaml:"output"`
	Call   string `yaml:"call"` // for each call, in dollars

	Write      string `yaml:"write"`
	WriteHour  string `yaml:"write_hour"`
	InputAudio string `yaml:"input_audio"`
	Audio      string `yaml:"output_audio"`
	Image      string `yaml:"output_image"`
	Search     string `yaml:"search"` // for each search, in dollars
}

// A Fault is a behaviour of a share of the calls; the first that is drawn holds.
type Fault struct {
	Share float64 `yaml:"share"` // 0 to 1
	Do    string  `yaml:"do"`    // knobs
}

// An Outage is a time in which a provider answers nothing useful.
type Outage struct {
	After string `yaml:"after"` // from the start
	For   string `yaml:"for"`
	// Kind is refuse (the connection is reset), hang, 503 or 429.
	Kind string `yaml:"kind"`
}

// A RateLimit refuses with 429 what is over Requests in any window of Per. The zero value is no limit.
type RateLimit struct {
	Requests int    `yaml:"requests"`
	Per      string `yaml:"per"` // default 1m
}

// Default is what runs without a file: two providers with models at different prices and speeds, of which any model
// name is accepted, so that every knob can be tried.
func Default() Config {
	chat := func(in, cached, out, first, gap string) Model {
		return Model{
			Price: Price{Input: in, Cached: cached, Output: out}, FirstToken: first, Gap: gap,
			Output: "lognormal(129, 601)", CachedShare: 0.25, TokensPerEvent: 4,
		}
	}
	embed := Model{Price: Price{Input: "0.02"}, FirstToken: "lognormal(20ms, 80ms)"}
	return Config{
		Listen: "127.0.0.1:8090",
		Seed:   1,
		Providers: map[string]Provider{
			"sim-a": {Models: map[string]Model{
				"swift-small": chat("0.15", "0.075", "0.60", "lognormal(180ms, 900ms)", "exponential(8ms)"),
				"swift-large": chat("2.50", "1.25", "10", "lognormal(400ms, 2s)", "exponential(20ms)"),
				"embed-small": embed,
				anyModel:      {Price: Price{Input: "1", Output: "4"}},
			}},
			"sim-b": {Models: map[string]Model{
				"steady-small": chat("0.20", "0.10", "0.80", "lognormal(250ms, 1s)", "exponential(12ms)"),
				"steady-large": chat("3", "0.30", "15", "lognormal(600ms, 2500ms)", "exponential(24ms)"),
				"embed-small":  embed,
				anyModel:       {Price: Price{Input: "1", Output: "4"}},
			}},
		},
	}
}

// Parse reads a configuration file strictly: an unknown or doubled key is an error with its place, and everything that
// [Config.Validate] finds is in the error too.
func Parse(text []byte) (Config, error) {
	var c Config
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c)
	if err != nil && !errors.Is(err, io.EOF) {
		return Config{}, err
	}
	return c, join(c.Validate())
}

// Validate reports all problems of the configuration, in the order of their paths.
func (c Config) Validate() []fault.Problem {
	v := &validator{}
	if len(c.Providers) == 0 {
		v.report("providers", "there is none", "name at least one, with models")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		v.provider(name, c.Providers[name])
	}
	return v.problems
}

// join makes one error of all problems, nil of none.
func join(problems []fault.Problem) error {
	all := make([]error, len(problems))
	for i, p := range problems {
		all[i] = p
	}
	return errors.Join(all...)
}

// A validator collects problems.
type validator struct{ problems []fault.Problem }

func (v *validator) report(path, text, hint string) {
	v.problems = append(v.problems, fault.Problem{Path: path, Text: text, Hint: hint})
}

// check reports err, if there is one.
func (v *validator) check(path string, err error) {
	if err != nil {
		v.report(path, err.Error(), "")
	}
}

func (v *validator) provider(name string, p Provider) {
	path := "providers." + name
	if name == "" || strings.HasPrefix(name, "_") || name == "v1" || strings.ContainsAny(name, "/?#% ") {
		v.report(path, fmt.Sprintf("%q cannot be the first part of a path", name), "use letters, digits and dashes; v1 and names that begin with _ are taken")
	}
	if _, known := dialects[p.dialect()]; !known {
		v.report(path+".dialect", fmt.Sprintf("%q is not spoken in this version", p.Dialect), "write "+strings.Join(slices.Sorted(maps.Keys(dialects)), ", "))
	}
	if len(p.Models) == 0 {
		v.report(path+".models", "there is none", `name at least one; "*" stands for any name`)
	}
	for _, m := range slices.Sorted(maps.Keys(p.Models)) {
		v.model(path+".models."+m, m, p.Models[m])
	}
	for i, o := range p.Outages {
		v.outage(fmt.Sprintf("%s.outages[%d]", path, i), o)
	}
	if p.RateLimit.Requests < 0 {
		v.report(path+".rate_limit.requests", "is negative", "0 is no limit")
	}
	_, err := optional(p.RateLimit.Per, parseDuration)
	v.check(path+".rate_limit.per", err)
}

func (v *validator) model(path, name string, m Model) {
	if strings.Contains(name, "?") {
		v.report(path, `has a "?"`, "knobs go into do:")
	}
	for _, d := range []struct {
		field, text string
		parse       func(string) (distribution, error)
	}{{"first_token", m.FirstToken, parseDelay}, {"gap", m.Gap, parseDelay}, {"output", m.Output, parseLength}} {
		_, err := optional(d.text, d.parse)
		v.check(path+"."+d.field, err)
	}
	for _, r := range []struct{ field, text string }{{"input", m.Price.Input}, {"cached", m.Price.Cached}, {"output", m.Price.Output},
		{"write", m.Price.Write}, {"write_hour", m.Price.WriteHour}, {"input_audio", m.Price.InputAudio},
		{"output_audio", m.Price.Audio}, {"output_image", m.Price.Image}} {
		_, err := optional(r.text, llm.ParseRate)
		v.check(path+".price."+r.field, err)
	}
	_, err := optional(m.Price.Call, llm.ParseMoney)
	v.check(path+".price.call", err)
	_, err = optional(m.Price.Search, llm.ParseMoney)
	v.check(path+".price.search", err)
	for _, n := range []struct {
		field      string
		value, top int
	}{
		{"tokens_per_event", m.TokensPerEvent, maxTokens}, {"dimensions", m.Dimensions, maxDimensions},
		{"slots", m.Slots, maxSlots}, {"prefill", m.Prefill, maxPrefill},
	} {
		if n.value < 0 || n.value > n.top {
			v.report(path+"."+n.field, fmt.Sprintf("%d is out of range", n.value), fmt.Sprintf("write 0 to %d", n.top))
		}
	}
	v.share(path+".cached_share", m.CachedShare)
	v.check(path+".do", (&behaviour{}).set(m.Do))
	for i, f := range m.Faults {
		at := fmt.Sprintf("%s.faults[%d]", path, i)
		v.fault(at, f)
	}
	if m.Fast && (m.Slots != 0 || m.Prefill != 0 || m.Do != "" || len(m.Faults) > 0 || m.FirstToken != "" || m.Gap != "") {
		v.report(path+".fast", "a fast model has no delays, capacity, knobs or faults", "take those out, or fast")
	}
}

func (v *validator) share(path string, share float64) {
	if !(share >= 0 && share <= 1) { // so written, it also catches NaN
		v.report(path, fmt.Sprintf("%v is not a share", share), "write 0 to 1")
	}
}

func (v *validator) outage(path string, o Outage) {
	_, err := optional(o.After, parseDuration)
	v.check(path+".after", err)
	_, err = parseDuration(o.For)
	v.check(path+".for", err)
	if !slices.Contains(outageKinds, o.Kind) {
		v.report(path+".kind", fmt.Sprintf("%q is not a kind of outage", o.Kind), "write "+strings.Join(outageKinds, ", "))
	}
}

// optional parses text, or gives the zero value for "".
func optional[T any](text string, parse func(string) (T, error)) (T, error) {
	if text == "" {
		var zero T
		return zero, nil
	}
	return parse(text)
}

// dialect is the configured dialect, or the default.
func (p Provider) dialect() string {
	if p.Dialect == "" {
		return string(llm.OpenAI)
	}
	return p.Dialect
}
