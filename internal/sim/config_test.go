package sim

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(`
listen: 127.0.0.1:8090
seed: 7
providers:
  one:
    key: sk-sim-1
    models:
      small:
        price: { input: 0.15, cached: 0.075, output: 0.60 }
        first_token: lognormal(300ms, 2s)
        gap: 20ms
        output: uniform(10, 20)
        cached_share: 0.5
        tokens_per_event: 4
        do: crlf=1&usage=none
        faults:
          - { share: 0.02, do: status=503 }
      quick: { fast: true }
    outages:
      - { after: 10s, for: 12s, kind: 503 }
    rate_limit: { requests: 60, per: 1m }
`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m := s.providers["one"].models["small"]
	if m.price.input != 150_000 || m.price.cached != 75_000 || m.price.output != 600_000 {
		t.Errorf("price %+v", m.price)
	}
	if m.do.usage != "none" || !m.do.crlf || len(m.faults) != 1 || m.perEvent != 4 {
		t.Errorf("model %+v", m)
	}
	if o := s.providers["one"].outages; len(o) != 1 || o[0].kind != "503" || o[0].until.Sub(o[0].from).Seconds() != 12 {
		t.Errorf("outages %+v", o)
	}
}

const manyMistakes = `
providers:
  _a: { models: { m: {} } }
  b:
    dialect: cohere
    rate_limit: { requests: -1, per: soon }
    outages: [{ for: 3, kind: storm }]
  c:
    models:
      m?x:
        price: { input: -1 }
        first_token: gauss(1s, 2s)
        gap: lognormal(0s, 1s)
        output: many
        cached_share: 1.5
        dimensions: -3
        slots: -1
        prefill: 100000001
        do: nope=1
        faults: [{ share: -1, do: status=1 }]
        fast: true
`

const theirMessages = `providers._a: "_a" cannot be the first part of a path (use letters, digits and dashes; v1 and names that begin with _ are taken)
providers.b.dialect: "cohere" is not spoken in this version (write anthropic, azure, bedrock, gemini, openai)
providers.b.models: there is none (name at least one; "*" stands for any name)
providers.b.outages[0].for: "3" is not a duration (write 250ms, 10s, 2m)
providers.b.outages[0].kind: "storm" is not a kind of outage (write refuse, hang, 503, 429)
providers.b.rate_limit.requests: is negative (0 is no limit)
providers.b.rate_limit.per: "soon" is not a duration (write 250ms, 10s, 2m)
providers.c.models.m?x: has a "?" (knobs go into do:)
providers.c.models.m?x.first_token: "gauss(1s, 2s)" is not a distribution (write a value, uniform(LOW, HIGH), lognormal(MEDIAN, P99) or exponential(MEAN))
providers.c.models.m?x.gap: "lognormal(0s, 1s)": the median of a lognormal must be above 0
providers.c.models.m?x.output: "many" is not a number of tokens (write 0 to 1000000)
providers.c.models.m?x.price.input: "-1" is not an amount (write a decimal number, such as 0.15)
providers.c.models.m?x.dimensions: -3 is out of range (write 0 to 8192)
providers.c.models.m?x.slots: -1 is out of range (write 0 to 100000)
providers.c.models.m?x.prefill: 100000001 is out of range (write 0 to 100000000)
providers.c.models.m?x.cached_share: 1.5 is not a share (write 0 to 1)
providers.c.models.m?x.do: there is no knob "nope" (GET /_knobs lists them)
providers.c.models.m?x.faults[0].share: -1 is not a share (write 0 to 1)
providers.c.models.m?x.faults[0].do: status: "1" is not a status from 200 to 599 (takes 503 | drop | rst | hang)
providers.c.models.m?x.fast: a fast model has no delays, capacity, knobs or faults (take those out, or fast)`

func TestParseNamesAllProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":             "providers: there is none (name at least one, with models)",
		"prividers: 1": `[1:1] unknown field "prividers"`,
		manyMistakes:   theirMessages,
	} {
		_, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s\nwas taken", text)
			continue
		}
		if got := err.Error(); got != want && !strings.HasPrefix(got, want+"\n>") {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestDefaultIsValid(t *testing.T) {
	t.Parallel()
	if _, err := New(Default()); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
}

func TestDistributions(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for text, want := range map[string]struct{ mean, p50, p99 float64 }{
		"40":                 {40, 40, 40},
		"uniform(20, 60)":    {40, 40, 59.6},
		"exponential(40)":    {40, 27.7, 184.2},
		"lognormal(129,601)": {159.5, 129, 601},
	} {
		d, err := parseLength(text)
		if err != nil {
			t.Fatal(err)
		}
		r := randomness(1, "p", text, 1)
		sum, below50, below99 := 0.0, 0, 0
		for range n {
			v := d.draw(r)
			sum += v
			if v <= want.p50 {
				below50++
			}
			if v <= want.p99 {
				below99++
			}
		}
		if mean := sum / n; mean < want.mean*0.97 || mean > want.mean*1.03 {
			t.Errorf("%s: mean %.1f, want %.1f", text, mean, want.mean)
		}
		if text == "40" {
			continue
		}
		if below50 < n*49/100 || below50 > n*51/100 || below99 < n*986/1000 || below99 > n*994/1000 {
			t.Errorf("%s: %d below the median, %d below p99", text, below50, below99)
		}
	}
}
