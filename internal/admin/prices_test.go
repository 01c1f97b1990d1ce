package admin_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
)

var aRate = rapid.Custom(func(t *rapid.T) string {
	return llm.Rate(rapid.Int64Range(0, 10_000_000_000).Draw(t, "rate")).PerMillion()
})

// What was set is what is listed, in the same words.
func TestPricesReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	rapid.Check(t, func(t *rapid.T) {
		in := admin.PriceInput{
			Target: "sim-a/" + rapid.StringMatching(`[a-z0-9/:.?=&-]{1,30}`).Draw(t, "model"),
			Input:  aRate.Draw(t, "input"), Output: aRate.Draw(t, "output"),
			Source: rapid.SampledFrom([]string{"", "list of November", "prices.csv"}).Draw(t, "source"),
		}
		if rapid.Bool().Draw(t, "cached") {
			in.CachedInput, in.CacheWrite = aRate.Draw(t, "cached input"), aRate.Draw(t, "cache write")
		}
		var out pageOf[admin.Price]
		if status := w.Admin(http.MethodPut, "/prices", admin.PricesInput{Data: []admin.PriceInput{in}}, &out); status != http.StatusOK || len(out.Data) != 1 {
			t.Fatalf("%+v: %d %+v", in, status, out)
		}
		want := admin.Price{
			Target: in.Target, Input: in.Input, Output: in.Output, CachedInput: in.CachedInput, CacheWrite: in.CacheWrite,
			Source: in.Source, Set: out.Data[0].Set,
		}
		if in.CachedInput == "" {
			want.CachedInput, want.CacheWrite = in.Input, in.Input
		}
		if in.Source == "" {
			want.Source = "set"
		}
		if rapid.Bool().Draw(t, "variants") {
			in.Variants = []admin.PriceVariant{
				{Tier: "flex", Input: aRate.Draw(t, "flex"), Output: "1", CachedInput: "0", CacheWrite: "2.5"},
				{Credential: 2, Hours: "22:00-06:00", Zone: "Europe/Berlin", Input: "1", Output: aRate.Draw(t, "by night"), CachedInput: "1", CacheWrite: "1"},
			}
			want.Variants = in.Variants
			if status := w.Admin(http.MethodPut, "/prices", admin.PricesInput{Data: []admin.PriceInput{in}}, &out); status != http.StatusOK {
				t.Fatalf("%+v: %d %+v", in, status, out)
			}
			want.Set = out.Data[0].Set
		}
		for _, got := range append(out.Data, find(w, in.Target)) {
			if got.Set == nil || !got.Set.Equal(*want.Set) {
				t.Fatalf("set at %v, then at %v", want.Set, got.Set)
			}
			if got.Set = want.Set; !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v\nwant %+v", got, want)
			}
		}
	})
}

func find(w *world, target string) admin.Price {
	for _, p := range get[pageOf[admin.Price]](w, "/prices").Data {
		if p.Target == target {
			return p
		}
	}
	return admin.Price{}
}

// One wrong price, and none is set; all mistakes are told at once.
func TestMistakesInPrices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	price := func(target, input, output string) string {
		return fmt.Sprintf(`{"target":%q,"input":%q,"output":%q}`, target, input, output)
	}
	good := price("sim-a/good", "1", "2")
	for _, c := range []struct{ name, data, words string }{
		{"none", ``, "data is empty; send at least one price."},
		{"negative", price("a/b", "-1", "1"), `data[1].input: "-1" is not an amount`},
		{"not a number", price("a/b", "NaN", "1"), `data[1].input: "NaN" is not an amount`},
		{"infinite", price("a/b", "1", "Infinity"), `data[1].output: "Infinity" is not an amount`},
		{"an exponent", price("a/b", "1e308", "1"), `data[1].input: "1e308" is not an amount`},
		{"a long number", price("a/b", strings.Repeat("9", 400), "1"), "data[1].input"},
		{"too dear", price("a/b", "10000.000001", "1"), "data[1].input: $10000.000001 is over $10,000 per million tokens"},
		{"too fine", price("a/b", "0.0000001", "1"), "at most 6 decimals"},
		{"a comma", price("a/b", "0,15", "1"), `data[1].input: "0,15" is not an amount`},
		{"a number of JSON", `{"target":"a/b","input":0.15,"output":"1"}`, `data[1].input is not text (such as "0.15").`},
		{"a missing rate", `{"target":"a/b","output":"1"}`, "data[1].input: is missing (write 0 if it is free)"},
		{"no provider", price("b", "1", "1"), `data[1].target: "b" is not PROVIDER/MODEL`},
		{"an empty provider", price("/b", "1", "1"), `data[1].target: "/b" is not PROVIDER/MODEL`},
		{"a control character", `{"target":"a/b\u001b[31m","input":"1","output":"1"}`, `data[1].target: "a/b\x1b[31m" is not PROVIDER/MODEL`},
		{"a long source", fmt.Sprintf(`{"target":"a/b","input":"1","output":"1","source":%q}`, strings.Repeat("x", 129)), "data[1].source"},
		{"twice", price("sim-a/good", "3", "4"), "data[1].target: sim-a/good is in data[0] already"},
		{"what is for reading", `{"target":"a/b","input":"1","output":"1","unpriced":true}`, "data[1].unpriced is not a member that is known here."},
		{"two mistakes", price("b", "x", "1"), `data[1].target: "b" is not PROVIDER/MODEL; data[1].input: "x" is not an amount`},
	} {
		body := `{"data":[]}`
		if c.data != "" {
			body = `{"data":[` + good + `,` + c.data + `]}`
		}
		a := w.call(http.MethodPut, "/admin/v1/prices", w.AdminKey, body)
		if got := a.refusal(t); a.status != http.StatusBadRequest || !strings.Contains(got.Message, c.words) {
			t.Errorf("%s: %d %s\nwant %s", c.name, a.status, got.Message, c.words)
		}
	}
	if p := find(w, "sim-a/good"); p.Target != "" {
		t.Errorf("a price was set: %+v", p)
	}
	many := strings.Repeat(price("b", "1", "1")+",", 99) + price("b", "1", "1")
	a := w.call(http.MethodPut, "/admin/v1/prices", w.AdminKey, `{"data":[`+many+`]}`)
	if got := a.refusal(t); !strings.HasSuffix(got.Message, "; and 80 more.") || got.Hint != "Nothing was changed." {
		t.Errorf("%s %s", got.Message, got.Hint)
	}
}

func TestPricesOfWhatIsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{Config: `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  sim-a: { dialect: openai, base_url: "http://%SIM%/sim-a/v1", vendor: none, models: [priced, unpriced] }
`})
	w.Price("sim-a/priced", "elsewhere/unused")
	targets := func(path string) (list []string) {
		for _, p := range get[pageOf[admin.Price]](w, path).Data {
			list = append(list, fmt.Sprintf("%s %s %v", p.Target, p.Input, p.Unpriced))
		}
		return list
	}
	all := []string{"elsewhere/unused 1 false", "sim-a/priced 1 false", "sim-a/unpriced  true"}
	for path, want := range map[string][]string{
		"/prices": all, "/prices?missing=false": all, "/prices?missing=": all, "/prices?missing=true": all[2:],
	} {
		if got := targets(path); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if a := w.call(http.MethodGet, "/admin/v1/prices?missing=yes", w.AdminKey, ""); a.status != 400 || !strings.Contains(a.refusal(t).Message, "send true or false") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A price for a provider that is not configured is taken, since the file may follow, and says that it is for nothing yet.
func TestPricesOfUnknownProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for target, want := range map[string]bool{"sim-a/m": false, "typo/m": true} {
		var out pageOf[admin.Price]
		in := admin.PriceInput{Target: target, Input: "1", Output: "2"}
		if status := w.Admin(http.MethodPut, "/prices", admin.PricesInput{Data: []admin.PriceInput{in}}, &out); status != http.StatusOK || out.Data[0].Unused != want {
			t.Errorf("%s: %d %+v", target, status, out)
		}
		if got := find(w, target); got.Unused != want {
			t.Errorf("%s is listed as %+v", target, got)
		}
	}
}
