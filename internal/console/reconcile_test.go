package console_test

import (
	"bytes"
	"encoding/csv"
	"html"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/penstocktest"
)

// upload posts a form with a file; without a name there is none.
func (b *browser) upload(path, name, file string, pairs ...string) answer {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := form.WriteField(pairs[i], pairs[i+1]); err != nil {
			b.t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write([]byte(file))
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, &body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func hidden(t *testing.T, page answer, name string) string {
	t.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page.text)
	if found == nil {
		t.Fatalf("the page has no %s", name)
	}
	return html.UnescapeString(found[1])
}

// An export is compared first and nothing is written; what was seen is what is written, once, with a confirmation; and it is audited.
func TestReconcileInTheConsole(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	books(t, e, 2)
	b.budget("home", "25")
	unknownTry(t, e, e.Key("home"))
	day := e.Records()[0].Time.UTC().Format("2006-01-02")
	token := b.token()
	entries := func() int {
		t.Helper()
		var out struct {
			Data []struct{} `json:"data"`
		}
		e.Admin(http.MethodGet, "/ledger", nil, &out)
		return len(out.Data)
	}
	before := entries()
	file := "day,provider,model,cost_usd\n" + day + ",sim-a,m,0.5\n" + day + ",sim-a,m?hidden_reasoning=300&cut=0:rst,0.003\n" + day + ",sim-a,web <b>search,0.25\n"

	b.get("/reconcile").shows(t, "Nothing is written: first it shows", `enctype="multipart/form-data"`, "sim-b", "at most 12 MiB")
	seen := b.upload("/reconcile", "bill <i>.csv", file, "token", token, "do", "look", "unfinished", "on", "threshold", "2")
	if seen.status != http.StatusOK {
		t.Fatalf("%d %s", seen.status, seen.text)
	}
	seen.shows(t, "2 of 3 lines drift", "by more than 2 % and a cent", "not matched", "web &lt;b&gt;search=sim-a/MODEL", "bill &lt;i&gt;.csv is compared again", "Billed less booked, by day and target",
		"unknown calls at $0.003 together", "Settle, and correct the books", "books_drift", "penstock reconcile &#39;bill &lt;i&gt;.csv&#39; --threshold 2 --unfinished", "</i>explained</span>")
	held, plan := hidden(t, seen, "held"), hidden(t, seen, "plan")
	if entries() != before {
		t.Fatal("looking has written")
	}

	// The file is not chosen again: what the page holds is enough.
	again := b.upload("/reconcile", "", "", "token", token, "do", "look", "unfinished", "on", "held", held, "ignore", "web*")
	again.shows(t, "1 of 2 lines drifts", "bill &lt;i&gt;.csv")
	again.lacks(t, "MODEL</code>")
	sheet := b.upload("/reconcile", "", "", "token", token, "do", "csv", "unfinished", "on", "held", held)
	rows, err := csv.NewReader(strings.NewReader(sheet.text)).ReadAll()
	if err != nil || len(rows) != 4 || sheet.header.Get("Content-Disposition") != `attachment; filename="penstock-reconcile-`+day+`-`+day+`.csv"` {
		t.Errorf("the CSV: %v %v %v", rows, err, sheet.header)
	}

	confirmed := []string{"token", token, "unfinished", "on", "held", held, "plan", plan, "confirm", "yes", "threshold", "2"}
	got := b.upload("/reconcile", "", "", "token", token, "do", "settle", "unfinished", "on", "held", held, "plan", plan)
	got.shows(t, "it was not confirmed")
	got = b.upload("/reconcile", "", "", append([]string{"do", "adjust", "ignore", "web*"}, confirmed...)...) // web* changes no entry that would be written
	if entries() == before {
		t.Fatalf("nothing was written: %s", got.text)
	}
	got.shows(t, "Settled 4 calls at $0.003 together", "2 corrections, ", "Nothing drifts")
	after := entries()
	got = b.upload("/reconcile", "", "", append([]string{"do", "adjust", "ignore", "web*"}, confirmed...)...)
	if got.status != http.StatusConflict || entries() != after {
		t.Errorf("the same plan again: %d, and %d entries, %d before", got.status, entries(), after)
	}
	got.shows(t, "The books have changed since")
	var chain struct {
		Data []audit.Entry `json:"data"`
	}
	e.Admin(http.MethodGet, "/audit?limit=6", nil, &chain)
	written := map[audit.Action]int{}
	for _, a := range chain.Data {
		if strings.HasPrefix(a.Actor.Request, "co_") && strings.HasPrefix(a.Reason, "reconcile "+day) {
			written[a.Action]++
		}
	}
	if written[audit.TrySettled] != 4 || written[audit.LedgerAdjusted] != 2 {
		t.Errorf("the chain has %v: %+v", written, chain.Data)
	}
}

// What is wrong with an export, or with what is asked of it, is told with where and how to mend it, beside the form as it was filled in.
func TestReconcileMistakes(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	token := b.token()
	const good = "day,provider,model,cost_usd\n2026-11-01,sim-a,m,0.5\n"
	for _, c := range []struct {
		name, file, want string
		pairs            []string
	}{
		{"", "", "There is no export", nil},
		{"empty.csv", "", "the file is empty", nil},
		{"a.csv", "day,provider\n", "The export cannot be read", nil},
		{"a.csv", "day,provider,model,cost_usd\n2026-11-01,sim-a,m,much\n", "line 2", nil},
		{"a.json", `{"object":"page"`, "The export cannot be read", nil},
		{"a.csv.gz", "\x1f\x8b\x08\x00\xff\xfe", "has to be unpacked", nil},
		{"a.csv", good, "the file is of the format plain, not openai", []string{"format", "openai"}},
		{"a.csv", good, "format is", []string{"format", "mine"}},
		{"a.csv", good, "threshold: ", []string{"threshold", "a lot"}},
		{"a.csv", good, "is not a zone", []string{"zone", "Mars/Base"}},
		{"a.csv", good, "leave provider out", []string{"provider", "sim-a"}},
		{"a.csv", good, "is not the number of a credential", []string{"credential", "0"}},
		{"a.csv", good, "does not say what a name stands for", []string{"names", "m"}},
		{"a.csv", good, "send PROVIDER/MODEL", []string{"names", "m=model"}},
		{"a.csv", good, "it was not confirmed", []string{"do", "settle", "plan", "x"}},
		{"", "", "cannot be read", []string{"held", "!"}},
		{"", "", "cannot be read", []string{"held", "H4sI"}},
	} {
		got := b.upload("/reconcile", c.name, c.file, append([]string{"token", token}, c.pairs...)...)
		if got.status != http.StatusBadRequest {
			t.Errorf("%q %v: %d", c.name, c.pairs, got.status)
		}
		got.shows(t, c.want, `role="alert"`)
		if len(c.pairs) == 2 && c.pairs[0] == "threshold" {
			got.shows(t, `value="a lot"`)
		}
	}
	large := b.upload("/reconcile", "large.csv", strings.Repeat(" ", 12<<20+1), "token", token)
	if large.status != http.StatusBadRequest {
		t.Errorf("too large: %d", large.status)
	}
	large.shows(t, "is the most", "Export a shorter time")
	if got := b.upload("/reconcile", "huge.csv", strings.Repeat(" ", 18<<20), "token", token); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("huge: %d", got.status)
	}
	if got := b.do(http.MethodPost, "/tiers", url.Values{"token": {token}, "models": {strings.Repeat("m", 80<<10)}}); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a form that is too large: %d", got.status)
	}
	if got := b.upload("/tiers", "a.csv", strings.Repeat("m", 80<<10), "token", token); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a file for a page that takes none: %d", got.status)
	}
	if got := b.upload("/reconcile", "a.csv", good, "token", strings.Repeat("0", 32)); got.status != http.StatusForbidden {
		t.Errorf("without the session's token: %d", got.status)
	}

	viewer := newBrowser(t, e.AdminURL)
	e.Key("home")
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	if got := viewer.get("/reconcile"); got.status != http.StatusForbidden {
		t.Errorf("a viewer: %d", got.status)
	}
	if got := viewer.upload("/reconcile", "a.csv", good, "token", viewer.token()); got.status != http.StatusForbidden {
		t.Errorf("a viewer's export: %d", got.status)
	}
	viewer.get("/ledger").lacks(t, `href="reconcile"`, "Reconcile")
	if got := b.do(http.MethodPost, "/reconcile", url.Values{"token": {token}}); got.status != http.StatusBadRequest {
		t.Errorf("a form without files: %d", got.status)
	}
}
