package console_test

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/penstocktest"
)

// shows fails the test unless a page has all of some texts.
func (a answer) shows(t *testing.T, words ...string) {
	t.Helper()
	for _, want := range words {
		if !strings.Contains(a.text, want) {
			_, main, _ := strings.Cut(a.text, "<main")
			t.Errorf("the page (%d) lacks %q:\n%s", a.status, want, main)
		}
	}
}

func (a answer) lacks(t *testing.T, words ...string) {
	t.Helper()
	for _, no := range words {
		if strings.Contains(a.text, no) {
			t.Errorf("the page has %q", no)
		}
	}
}

// books makes calls of two projects within budgets, and gives what was spent.
func books(t *testing.T, e *penstocktest.Env, calls int) {
	t.Helper()
	e.Price("sim-a/m")
	for _, project := range []string{"home", "shop"} {
		key := e.Key(project)
		for range calls {
			if a := e.Post(key, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)); a.Status != http.StatusOK {
				t.Fatalf("a call: %d %s", a.Status, a.Text())
			}
		}
	}
	e.Records() // waits for them
}

func (b *browser) budget(project, amount string) (id string) {
	b.t.Helper()
	return b.send("/budgets", "project", project, "amount", amount, "per", "day").made(b.t, "budgets")
}

var entryLink = regexp.MustCompile(`ledger/entries/(\d+)">`)

// The ledger can be searched by day, project, provider, kind and budget; each entry has a page; wrong input is told with how to mend it.
func TestLedgerEntries(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	b.get("/ledger").shows(t, "No entry yet")
	e.Key("home")
	e.Key("shop")
	budget := b.budget("home", "25")
	b.send("/budgets", "project", "home", "amount", "500", "per", "month", "kept", "gold=30").made(t, "budgets")
	books(t, e, 2)

	count := func(query string) int {
		t.Helper()
		page := b.get("/ledger" + query)
		if page.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, page.status, page.text)
		}
		return len(entryLink.FindAllString(page.text, -1))
	}
	today := e.Record(e.Records()[0].ID).Time.UTC().Format("2006-01-02")
	for query, want := range map[string]int{
		"": 4, "?project=home": 2, "?provider=sim-a": 4, "?provider=nobody": 0, "?kind=posted": 4, "?kind=void": 0, "?budget=" + budget: 2, "?budget=bgt_gone": 0,
		"?range=24h": 4, "?range=last-month": 0, "?day=" + today: 4, "?day=1999-01-01": 0, "?budget=" + budget + "&project=shop": 0, "?after=3": 2,
	} {
		if got := count(query); got != want {
			t.Errorf("%s: %d entries, want %d", query, got, want)
		}
	}
	b.get("/ledger?kind=posted&range=24h").shows(t, "penstock ledger list --kind posted --from ", "sim-a/m", "$25.00 a day for project home")
	b.get("/ledger?budget="+budget).shows(t, "penstock ledger list --budget-id "+budget)
	var api struct {
		Data []struct {
			Number int64 `json:"number"`
		} `json:"data"`
		Next string `json:"next"`
	}
	if e.Admin(http.MethodGet, "/ledger?limit=1&budget="+budget, nil, &api); len(api.Data) != 1 || api.Data[0].Number != 2 || api.Next != "2" {
		t.Errorf("the API: %+v", api)
	}
	for query, want := range map[string]string{
		"?kind=lost": "It is posted, estimated", "?day=yesterday": "Write a day such as", "?project=nobody": "There is no project &#34;nobody&#34;", "?after=x": "is not the number of an entry",
		"?range=custom&from=then": "Write 2026-11-24",
	} {
		page := b.get("/ledger" + query)
		if page.status != http.StatusBadRequest && page.status != http.StatusNotFound {
			t.Errorf("%s: %d", query, page.status)
		}
		page.shows(t, want)
	}

	entry := b.get("/ledger/entries/1")
	entry.shows(t, "Entry 1: $", "home", "owed:sim-a", "What it moved in budgets", "$25.00 a day for project home", "as far as calls without the tag gold may use it", "exchanges/ex_", "Correct the books")
	for _, none := range []string{"0", "99", "-1", "x", "9223372036854775807"} {
		if got := b.get("/ledger/entries/" + none); got.status != http.StatusNotFound {
			t.Errorf("entry %s: %d", none, got.status)
		}
	}
	b.get("/ledger/accounts").shows(t, "spend:default/", "owed:sim-a", "owed to providers, the same")
}

// What a month came to is the same on the page, in the CSV, over the API, and on the accounts.
func TestMonthOfTheLedger(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	books(t, e, 3)
	month := e.Records()[0].Time.UTC().Format("2006-01")
	b.send("/ledger/adjust", "project", "shop", "provider", "sim-a", "amount", "-0.000001", "reason", "a credit note", "at", month+"-01")
	var api struct {
		Rows      []struct{} `json:"rows"`
		Usage     []struct{} `json:"usage"`
		TotalNano int64      `json:"total_nano"`
	}
	e.Admin(http.MethodGet, "/ledger/close?month="+month, nil, &api)
	if api.TotalNano <= 0 {
		t.Fatalf("nothing was booked: %+v", api)
	}
	page := b.get("/ledger/close?month=" + month)
	var accounts struct {
		Data []struct {
			Side    string `json:"side"`
			NetNano int64  `json:"net_nano"`
		} `json:"data"`
	}
	e.Admin(http.MethodGet, "/ledger/accounts", nil, &accounts)
	var spent int64
	for _, a := range accounts.Data {
		if a.Side == "spend" {
			spent += a.NetNano
		}
	}
	file := b.get("/ledger/close.csv?month=" + month)
	rows, err := csv.NewReader(strings.NewReader(file.text)).ReadAll()
	if err != nil || file.header.Get("Content-Disposition") != `attachment; filename="penstock-ledger-`+month+`.csv"` {
		t.Fatalf("%v %v", err, file.header)
	}
	var sum int64
	for _, row := range rows[1:] {
		n, err := strconv.ParseInt(row[10], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if row[7] != "pending" {
			sum += n
		}
	}
	if sum != api.TotalNano || sum != spent || len(rows)-1 != len(api.Rows)+len(api.Usage) || len(api.Usage) == 0 {
		t.Errorf("the CSV comes to %d in %d rows, the API to %d in %d and %d, the accounts to %d", sum, len(rows)-1, api.TotalNano, len(api.Rows), len(api.Usage), spent)
	}
	total := regexp.MustCompile(`<b class="sum">\$([0-9.]+)</b>`).FindStringSubmatch(page.text)
	if total == nil {
		t.Fatalf("no total: %s", page.text)
	}
	if got, err := strconv.ParseFloat(total[1], 64); err != nil || int64(got*1e9+.5) != sum {
		t.Errorf("the page has %s, the CSV %d", total[1], sum)
	}
	page.shows(t, "adjusted", "penstock ledger close --month "+month, "ledger/close.csv?month="+month)
	for query, want := range map[string]string{"?month=soon": "Write one such as", "?month=2026-13": "is not a month", "?zone=Mars/Base": "is not a time zone"} {
		page := b.get("/ledger/close" + query)
		if page.status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, page.status)
		}
		page.shows(t, want)
		if got := b.get("/ledger/close.csv" + query); got.status != http.StatusBadRequest {
			t.Errorf("the CSV of %s: %d", query, got.status)
		}
	}
	b.get("/ledger/close?month=2026-03&zone=Europe/Berlin").shows(t, "2026-03-01 00:00 to 2026-04-01 00:00", "--zone Europe/Berlin")
}

// The check says that the books fit, on whose behalf it ran, and what it looked at.
func TestCheckOfTheBooks(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	b.get("/ledger/check").shows(t, "No check was run", "Check now")
	books(t, e, 1)
	if got := b.send("/ledger/check"); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.text)
	}
	b.get("/ledger/check").shows(t, "The books fit</b></span>: 2 entries on 3 accounts", "2 exchanges", "Check again")
	b.get("/ledger/check/live").shows(t, "The books fit")
}

// unknownTry makes a call that was tried several times, whose end nobody saw, and gives the ids of its tries.
func unknownTry(t *testing.T, e *penstocktest.Env, caller string) (try string, more []string) {
	t.Helper()
	const model = "sim-a/m?hidden_reasoning=300&cut=0:rst"
	e.Price("sim-a/m", model)
	e.Post(caller, "/v1/chat/completions", penstocktest.Chat(model, "say:3 hello", true))
	e.Records()
	var out struct {
		Tries []struct {
			Try string `json:"try"`
		} `json:"tries"`
	}
	e.Admin(http.MethodGet, "/ledger/unknown", nil, &out)
	if len(out.Tries) == 0 {
		t.Fatal("no try is unknown")
	}
	for _, u := range out.Tries[1:] {
		more = append(more, u.Try)
	}
	return out.Tries[0].Try, more
}

// Who may writes the books with a reason, and that is in the audit chain; who may not has no form and is refused; mistakes change nothing.
func TestWritingTheBooks(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	books(t, e, 1)
	b.get("/ledger/unknown").shows(t, "Nothing is unknown")
	for _, page := range []string{"/ledger/unknown?said=settled", "/ledger/accounts?said=adjusted"} { // a link says nothing of its own
		b.get(page+"&entry=7").shows(t, "by entry 7.")
		b.get(page+"&entry=7.+Call+4711").lacks(t, "4711.", "by entry")
	}
	b.budget("home", "25")
	try, more := unknownTry(t, e, e.Key("home"))
	b.get("/ledger/unknown").shows(t, "calls whose end nobody saw: together they may have cost $0.", "of $25.00 a day for project home", "ledger/settle?id="+url.QueryEscape(try))
	b.get("/ledger/settle?id="+try).shows(t, `value="`+try+`"`, "pending: at most $")

	for _, c := range []struct {
		want  string
		pairs []string
	}{
		{"write one line", []string{"id", try, "amount", "0.01"}},
		{"write one line", []string{"id", try, "amount", "0.01", "reason", strings.Repeat("long ", 60)}},
		{"an amount or tokens, or void", []string{"id", try, "reason", "x"}},
		{"an amount or tokens, or void", []string{"id", try, "amount", "1", "void", "on", "reason", "x"}},
		{"amount: ", []string{"id", try, "amount", "a lot", "reason", "x"}},
		{"is not a whole number", []string{"id", try, "amount", "1", "tokens", "many", "reason", "x"}},
		{"that is unknown", []string{"id", "ex_nothing-1", "amount", "1", "reason", "x"}},
		{"Say which try or lease", []string{"amount", "1", "reason", "x"}},
	} {
		got := b.send("/ledger/settle", c.pairs...)
		if got.status != http.StatusBadRequest && got.status != http.StatusNotFound {
			t.Errorf("%v: %d", c.pairs, got.status)
		}
		got.shows(t, c.want, `role="alert"`)
	}
	for _, c := range []struct {
		want  string
		pairs []string
	}{
		{"write dollars as decimal text", []string{"project", "home", "provider", "sim-a", "amount", "0", "reason", "x"}},
		{"whose money", []string{"provider", "sim-a", "amount", "1", "reason", "x"}},
		{"whose bill", []string{"project", "home", "amount", "1", "reason", "x"}},
		{"There is no project", []string{"project", "nobody", "provider", "sim-a", "amount", "1", "reason", "x"}},
		{"there are sim-a and sim-b", []string{"project", "home", "provider", "bogus", "amount", "1", "reason", "x"}},
		{"one project", []string{"project", "*", "provider", "sim-a", "amount", "1", "reason", "x"}},
		{"write one line", []string{"project", "home", "provider", "sim-a", "amount", "1"}},
		{"is not the number of a credential", []string{"project", "home", "provider", "sim-a", "amount", "1", "credential", "b", "reason", "x"}},
		{"is not a target", []string{"project", "home", "provider", "sim-a", "amount", "1", "target", "m", "reason", "x"}},
		{"is not a time", []string{"project", "home", "provider", "sim-a", "amount", "1", "at", "then", "reason", "x"}},
	} {
		got := b.send("/ledger/adjust", c.pairs...)
		if got.status != http.StatusBadRequest && got.status != http.StatusNotFound {
			t.Errorf("%v: %d", c.pairs, got.status)
		}
		got.shows(t, c.want, `role="alert"`)
	}
	var before, after struct {
		Data []struct{} `json:"data"`
	}
	e.Admin(http.MethodGet, "/ledger", nil, &before)

	viewer := newBrowser(t, e.AdminURL)
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	for _, page := range []string{"/ledger", "/ledger/accounts", "/ledger/unknown", "/ledger/close", "/ledger/check", "/ledger/entries/1"} {
		got := viewer.get(page)
		got.lacks(t, "ledger/settle", "ledger/adjust")
		if got.status != http.StatusOK {
			t.Errorf("a viewer's %s: %d", page, got.status)
		}
	}
	for _, page := range []string{"/ledger/settle", "/ledger/adjust"} {
		if got := viewer.get(page); got.status != http.StatusForbidden {
			t.Errorf("a viewer's %s: %d", page, got.status)
		}
		if got := viewer.do(http.MethodPost, page, url.Values{"token": {viewer.token()}, "id": {try}, "void": {"on"}, "reason": {"x"}}); got.status != http.StatusForbidden {
			t.Errorf("a viewer, %s: %d", page, got.status)
		}
	}

	if e.Admin(http.MethodGet, "/ledger", nil, &after); len(after.Data) != len(before.Data) {
		t.Fatalf("what was refused made entries: %d, before %d", len(after.Data), len(before.Data))
	}
	done := b.send("/ledger/settle", "id", try, "amount", "0.00002", "reason", "the provider's bill")
	if done.status != http.StatusSeeOther || !strings.Contains(done.header.Get("Location"), "unknown?entry=") {
		t.Fatalf("settle: %d %s", done.status, done.text)
	}
	b.send("/ledger/settle", "id", try, "void", "on", "reason", "twice").shows(t, "settled already")
	for _, other := range more {
		b.send("/ledger/settle", "id", other, "void", "on", "reason", "not on the provider's bill")
	}
	b.get("/ledger/unknown").shows(t, "Nothing is unknown")
	done = b.send("/ledger/adjust", "project", "home", "provider", "sim-a", "amount", "-0.5", "reason", "credit note 4711")
	if done.status != http.StatusSeeOther {
		t.Fatalf("adjust: %d %s", done.status, done.text)
	}
	b.get("/"+done.header.Get("Location")[strings.Index(done.header.Get("Location"), "ledger/"):]).shows(t, "The books are corrected by entry")
	b.get("/ledger?kind=adjusted").shows(t, "credit note 4711", "$0.5<")
	// A form that is sent twice is booked once; changed on the way back, it is another correction, which is asked for again.
	b.get("/ledger/adjust").shows(t, `<option value="sim-a">`, `<option value="sim-b">`) // one that nobody has called yet is there to be chosen
	form := []string{"key", hidden(t, b.get("/ledger/adjust"), "key"), "project", "home", "provider", "sim-a", "amount", "0.125", "reason", "twice"}
	first, second := b.send("/ledger/adjust", form...), b.send("/ledger/adjust", form...)
	if first.status != http.StatusSeeOther || first.header.Get("Location") != second.header.Get("Location") {
		t.Errorf("a form sent twice: %d %q, %d %q", first.status, first.header.Get("Location"), second.status, second.header.Get("Location"))
	}
	changed := b.send("/ledger/adjust", slices.Concat(form, []string{"amount", "0.0625"})...)
	changed.shows(t, "Another correction was booked under this key", `value="0.0625"`)
	if hidden(t, changed, "key") == form[1] {
		t.Error("the form keeps the key of another correction")
	}
	var chain struct {
		Data []audit.Entry `json:"data"`
	}
	e.Admin(http.MethodGet, "/audit?limit=3", nil, &chain)
	if len(chain.Data) != 3 || chain.Data[0].Action != audit.LedgerAdjusted || chain.Data[0].Reason != "twice" {
		t.Fatalf("the chain: %+v", chain.Data)
	}
	chain.Data = chain.Data[1:]
	if chain.Data[0].Action != audit.LedgerAdjusted || chain.Data[1].Action != audit.TrySettled || chain.Data[0].Reason != "credit note 4711" ||
		!strings.HasPrefix(chain.Data[1].Actor.Request, "co_") {
		t.Errorf("the chain: %+v", chain.Data)
	}
}

// TestAuditLeadsToTheCallOfATry: an entry on a try that was settled leads to the exchange that it is of.
func TestAuditLeadsToTheCallOfATry(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	books(t, e, 1)
	b.budget("home", "25")
	try, _ := unknownTry(t, e, e.Key("home"))
	b.get("/ledger/unknown")
	if got := b.send("/ledger/settle", "id", try, "amount", "0.000001", "reason", "the bill"); got.status != http.StatusSeeOther {
		t.Fatalf("settled: %d %s", got.status, got.text)
	}
	of := try[:strings.LastIndexByte(try, '-')]
	b.get("/audit").shows(t, "/exchanges/"+of+`"`)
	if got := b.get("/exchanges/" + of); got.status != http.StatusOK {
		t.Errorf("the exchange: %d", got.status)
	}
}
