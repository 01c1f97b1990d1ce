package admin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
)

// told is what the caller is told of an error: the code, the message and the hint that is not the registry's.
func told(err error) string {
	f := fault.From(err)
	if f == nil {
		return ""
	}
	return strings.TrimSpace(string(f.Code) + ": " + f.Message + " " + f.Hint)
}

func TestBodiesAreReadStrictly(t *testing.T) {
	t.Parallel()
	const known = " Known are name, org, labels, bodies, retention, strict, stateless, regions, private_only."
	for _, c := range []struct{ body, want string }{
		{`{"name":"a"}`, ""},
		{" \n{\"name\" : \"a\"}\r\n\t", ""},
		{`{"name":"\u0061"}`, ""},
		{`{"budgett":1}`, "invalid_request_error: budgett is not a member that is known here." + known},
		{`{"Name":"a"}`, "invalid_request_error: Name is not a member that is known here." + known},
		{`{"name":"a","name":"b"}`, "invalid_json: name is there twice (byte 12); send it once."},
		{`{"labels":{"a":"1","a":"2"}}`, "invalid_json: labels.a is there twice (byte 19); send it once."},
		{`{"name":"a","n\u0061me":"b"}`, "invalid_json: name is there twice (byte 12); send it once."},
		{`{"name":5}`, "invalid_request_error: name is not text (in quotes)."},
		{`{"strict":"yes"}`, "invalid_request_error: strict is not true or false."},
		{`{"labels":[]}`, "invalid_request_error: labels is not a JSON object."},
		{`{"labels":{"a":5}}`, "invalid_request_error: labels.a is not text (in quotes)."},
		{`{"name":"a"} x`, "invalid_json: The body is not JSON: invalid character 'x' after top-level value (byte 13)."},
		{`{"name":"a"}{}`, "invalid_json: The body is not JSON: invalid character '{' after top-level value (byte 12)."},
		{``, "invalid_request_error: The body is empty; send a JSON object."},
		{"\n ", "invalid_request_error: The body is empty; send a JSON object."},
		{`null`, "invalid_request_error: The body is null; send a value, or leave it out."},
		{`{"name":null}`, "invalid_request_error: name is null; send a value, or leave it out."},
		{`{"labels":{"a":null}}`, "invalid_request_error: labels.a is null; send a value, or leave it out."},
		{`[]`, "invalid_request_error: The body is not a JSON object."},
		{`"x"`, "invalid_request_error: The body is not a JSON object."},
		{`name=a`, "invalid_json: The body is not JSON: invalid character 'a' in literal null (expecting 'u') (byte 1)."},
		{`{"name":"a"`, "invalid_json: The body is not JSON: unexpected EOF (byte 11)."},
		{`{"name":NaN}`, "invalid_json: The body is not JSON: invalid character 'N' at start of value (byte 8)."},
		{"{\"name\":\"\xff\"}", "invalid_json: The body is not JSON: invalid UTF-8 (byte 9)."},
		{"\ufeff{}", `invalid_json: The body is not JSON: invalid character '\ufeff' at start of value (byte 0).`},
		{strings.Repeat(`{"labels":`, 20_000), "invalid_json: The body is not JSON: exceeded max depth (byte 100000)."},
	} {
		var in ProjectInput
		if got := told(body{r: strings.NewReader(c.body)}.read(&in)); got != c.want {
			t.Errorf("%.80s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

func TestPlacesInLists(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{`{"data":[{"target":"a/b"},{"input":0.15}]}`, `invalid_request_error: data[1].input is not text (such as "0.15").`},
		{`{"data":[{"inputt":"1"}]}`, "invalid_request_error: data[0].inputt is not a member that is known here."},
		{`{"data":{}}`, "invalid_request_error: data is not a list."},
		{`{"data":[],"next":""}`, "invalid_request_error: next is not a member that is known here. Known are data."},
	} {
		var in PricesInput
		if got := told(body{r: strings.NewReader(c.body)}.read(&in)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

// The example fits what is expected: an amount, or a number of tokens, which a declaration has as text too.
func TestExamplesFitTheMember(t *testing.T) {
	t.Parallel()
	const amount, tokens, text = `text (such as "0.15")`, `text (such as "500000")`, "text (in quotes)"
	for _, c := range []struct {
		into              any
		body, where, what string
	}{
		{new(BudgetInput), `{"amount":1}`, "amount", amount},
		{new(BudgetInput), `{"per":1}`, "per", text},
		{new(TierInput), `{"budgets":[{"amount":"1"},{"amount":1}]}`, "budgets[1].amount", amount},
		{new(LedgerSettleInput), `{"amount":0.5}`, "amount", amount},
		{new(LedgerAdjustInput), `{"amount":-0.5}`, "amount", amount},
		{new(LedgerAdjustInput), `{"provider":{}}`, "provider", text},
		{new(ReconcileInput), `{"threshold":1}`, "threshold", amount},
		{new(ReconcileInput), `{"names":{"amount":1}}`, "names.amount", text},
		{new(ReconcileInput), `{"ignore":[1]}`, "ignore[0]", text},
		{new(PricesInput), `{"data":[{"per_call":1}]}`, "data[0].per_call", amount},
		{new(PricesInput), `{"data":[{"hourly":1}]}`, "data[0].hourly", amount},
		{new(PricesInput), `{"data":[{"input_audio":1}]}`, "data[0].input_audio", amount},
		{new(PricesInput), `{"data":[{"variants":[{"output":1}]}]}`, "data[0].variants[0].output", amount},
		{new(PricesInput), `{"data":[{"target":1}]}`, "data[0].target", text},
		{new(KeyChange), `{"name":1}`, "name", text},
		{new(DeclareInput), `{"declaration":{"prices":{"a/b":{"input":1}}}}`, "declaration.prices.a/b.input", amount},
		{new(DeclareInput), `{"declaration":{"tiers":{"gold":{"budgets":[{"amount":1}]}}}}`, "declaration.tiers.gold.budgets[0].amount", amount},
		{new(DeclareInput), `{"declaration":{"tiers":{"gold":{"budgets":[{"tokens":1}]}}}}`, "declaration.tiers.gold.budgets[0].tokens", tokens},
		{new(DeclareInput), `{"declaration":{"tiers":{"gold":{"limits":[{"amount":1}]}}}}`, "declaration.tiers.gold.limits[0].amount", tokens},
		{new(DeclareInput), `{"declaration":{"tiers":{"gold":{"max_input":1}}}}`, "declaration.tiers.gold.max_input", tokens},
	} {
		want := "invalid_request_error: " + c.where + " is not " + c.what + "."
		if got := told(body{r: strings.NewReader(c.body)}.read(c.into)); got != want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, want)
		}
	}
}

func TestABodyThatMayBeLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{``, ""}, {"\n", ""}, {`{}`, ""}, {`{"overlap":"1h"}`, ""},
		{`null`, "invalid_request_error: The body is null; send a value, or leave it out."},
		{`{"overlapp":"1h"}`, "invalid_request_error: overlapp is not a member that is known here. Known are overlap."},
	} {
		var in RotateInput
		if got := told(body{r: strings.NewReader(c.body), mayBeEmpty: true}.read(&in)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	large := strings.NewReader(strings.Repeat(" ", maxBody+1))
	var in ProjectInput
	err := body{r: http.MaxBytesReader(httptest.NewRecorder(), http.NoBody, 0)}.read(&in)
	if told(err) != "invalid_request_error: The body is empty; send a JSON object." {
		t.Errorf("nothing at all: %v", err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", large)
	err = body{r: http.MaxBytesReader(httptest.NewRecorder(), r.Body, maxBody)}.read(&in)
	if f := fault.From(err); f.HTTPStatus() != http.StatusRequestEntityTooLarge || f.Message != "The body is over 16 MiB." {
		t.Errorf("got %d %v", f.HTTPStatus(), err)
	}
}

// FuzzBody looks for bodies that are accepted and say something else than what was taken from them.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","org":"b","labels":{"c":"d"},"bodies":"keep","retention":"30d","strict":true}`, `{}`, `null`, `{"name":"\ud83d\ude00"}`,
		`{"labels":{}}`, `{"name":"a","name":"a"}`, ` {"strict":false}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var in, again ProjectInput
		if err := (body{r: bytes.NewReader(text)}).read(&in); err != nil {
			if fault.From(err).Kind == fault.Internal {
				t.Fatalf("the caller's mistake became ours: %v", err)
			}
			return
		}
		out, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := (body{r: bytes.NewReader(out)}).read(&again); err != nil {
			t.Fatal(err)
		}
		if len(in.Labels) == 0 {
			in.Labels = nil
		}
		if d := cmp.Diff(in, again); d != "" {
			t.Error(d)
		}
	})
}

func TestQueriesAreReadStrictly(t *testing.T) {
	t.Parallel()
	list := &Endpoint{Method: "GET", Path: "/admin/v1/things", Query: []Param{{Name: "limit"}, {Name: "after"}}}
	bare := &Endpoint{Method: "GET", Path: "/admin/v1/bare"}
	foreign := &Endpoint{Method: "GET", Path: "/metrics"}
	for _, c := range []struct {
		e          *Endpoint
		raw, want  string
		wantParsed query
	}{
		{list, "", "", query{}},
		{list, "limit=5&after=a%26b", "", query{"limit": "5", "after": "a&b"}},
		{list, "limit=", "", query{"limit": ""}},
		{list, "limitt=5", `invalid_request_error: GET /admin/v1/things has no parameter "limitt". It has limit, after.`, nil},
		{list, "Limit=5", `invalid_request_error: GET /admin/v1/things has no parameter "Limit". It has limit, after.`, nil},
		{bare, "x=1", `invalid_request_error: GET /admin/v1/bare has no parameter "x". It has none.`, nil},
		{list, "limit=5&limit=6", "invalid_request_error: limit is there 2 times; send it once.", nil},
		{list, "limit=%zz", "invalid_request_error: The query cannot be read; send NAME=VALUE, with & between, percent-encoded.", nil},
		{list, "limit=5;after=6", "invalid_request_error: The query cannot be read; send NAME=VALUE, with & between, percent-encoded.", nil},
		{foreign, "name[]=x&name[]=y", "", nil},
	} {
		got, err := readQuery(c.raw, c.e)
		if told(err) != c.want || !reflect.DeepEqual(got, c.wantParsed) {
			t.Errorf("%s: got %v and %s, want %v and %s", c.raw, got, told(err), c.wantParsed, c.want)
		}
	}
}

func TestInstantsAndSpans(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		from, to  string
		want      [2]time.Time
		wantFault string
	}{
		{"", "", [2]time.Time{}, ""},
		{"2026-11-24", "", [2]time.Time{day, {}}, ""},
		{"2026-11-24", "2026-11-25", [2]time.Time{day, day.AddDate(0, 0, 1)}, ""},
		{"2026-11-24T02:00:00+02:00", "2026-11-24T00:00:00.000001Z", [2]time.Time{day, day.Add(time.Microsecond)}, ""},
		{"2026-11-24", "2026-11-24", [2]time.Time{}, "There is nothing from 2026-11-24T00:00:00Z to 2026-11-24T00:00:00Z."},
		{"2026-11-25", "2026-11-24", [2]time.Time{}, "There is nothing from 2026-11-25T00:00:00Z to 2026-11-24T00:00:00Z."},
		{"yesterday", "", [2]time.Time{}, `from is "yesterday", which is not an instant; send 2026-11-24 or 2026-11-24T09:00:00Z.`},
		{"2026-02-29", "", [2]time.Time{}, `from is "2026-02-29", which is not an instant; send 2026-11-24 or 2026-11-24T09:00:00Z.`},
		{"", "1e308", [2]time.Time{}, `to is "1e308", which is not an instant; send 2026-11-24 or 2026-11-24T09:00:00Z.`},
	} {
		from, to, err := query{"from": c.from, "to": c.to}.span()
		message := ""
		if err != nil {
			message = fault.From(err).Message
		}
		if message != c.wantFault || err == nil && (from != c.want[0] || to != c.want[1]) {
			t.Errorf("%s to %s: got %v, %v, %s", c.from, c.to, from, to, message)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": pageSize, "1": 1, "1000": 1000, "0": 0, "1001": 0, "-1": 0, "1.5": 0, "ten": 0, "99999999999999999999": 0} {
		got, err := query{"limit": s}.limit()
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v", s, got, err)
		}
	}
}

func TestSpansOfTime(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"720h": 720 * time.Hour, "30d": 720 * time.Hour, "0s": 0, "0d": 0, "1h30m": 90 * time.Minute, "-5m": -5 * time.Minute} {
		if got, err := parseSpan("x", s); err != nil || got != want {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "30", "d", "-1d", "1.5d", "36501d", "1ms", "1500ms", "1y", "NaNs", "1e3s", "30 d", "９d"} {
		if got, err := parseSpan("x", s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(0, 100*365*24*3600).Draw(t, "seconds")) * time.Second
		if got, err := parseSpan("x", figure.Span(want)); err != nil || got != want {
			t.Fatalf("%v was written as %s and read as %v, %v", want, figure.Span(want), got, err)
		}
	})
}

// What callers sent is quoted back at no length that they choose.
func TestQuotesAreShort(t *testing.T) {
	t.Parallel()
	if got := quote(strings.Repeat("x\x1b", 1<<20)); len(got) > 1000 || strings.Contains(got, "\x1b") {
		t.Errorf("%d bytes: %.100s", len(got), got)
	}
}
