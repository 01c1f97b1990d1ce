package console_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/usage"
)

// spend makes some exchanges that cost something.
func spend(t *testing.T) (*penstocktest.Env, *browser) {
	t.Helper()
	e := penstocktest.Start(t, penstocktest.Options{})
	e.Price("sim-a/m")
	first, second := e.Key("checkout"), e.Key("search")
	for i, c := range []struct{ key, model, user, tags string }{
		{first, "sim-a/m", "ada", "a"}, {first, "sim-a/m", "bob", "a,b"}, {second, "sim-a/m", "ada", "b"}, {first, "sim-b/m", "=1+1", ""},
		{second, "sim-b/m", "", "a"}, {first, "sim-a/x?status=503", "bob", "a"}, {second, "missing", "ada", "a"},
	} {
		body := penstocktest.Chat(c.model, fmt.Sprintf("say:%d hello", i+1), i%2 == 0)
		if c.user != "" {
			body = strings.TrimSuffix(body, "}") + `,"user":"` + c.user + `"}`
		}
		if a := e.Post(c.key, "/v1/chat/completions", body, "X-Penstock-Tags", c.tags); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	return e, b
}

// The file that the page of usage gives holds what the control API answers to the same question, to the nano-dollar, and
// the page's total is that of the API.
func TestUsageIsThatOfTheAPI(t *testing.T) {
	t.Parallel()
	e, b := spend(t)
	now := time.Now().UTC()
	span := []string{"from", now.Add(-time.Hour).Format(time.RFC3339), "to", now.Add(time.Hour).Format(time.RFC3339)}
	for _, c := range [][]string{
		{"by", "model"}, {"by", "project"}, {"by", "key"}, {"by", "user"}, {"by", "target"}, {"by", "tag"}, {"by", "org"}, {"by", "day"}, {"by", "hour"},
		{"by", "label:team"}, {"by", "provider"}, {"by", "provider", "tag", "a"}, {"by", "model", "user", "ada"}, {"by", "user", "tag", "a"}, {"by", "project", "model", "sim-a/m", "target", "sim-a/m"},
	} {
		asked, shown := url.Values{}, url.Values{"range": {"custom"}}
		for i := 0; i < len(span); i += 2 {
			asked.Set(span[i], span[i+1])
			shown.Set(span[i], span[i+1])
		}
		for i := 0; i < len(c); i += 2 {
			asked.Set(strings.Replace(c[i], "by", "group_by", 1), c[i+1])
			shown.Set(c[i], c[i+1])
		}
		var sums struct {
			GroupBy []string    `json:"group_by"`
			Data    []usage.Sum `json:"data"`
		}
		if status := e.Admin(http.MethodGet, "/usage?"+asked.Encode(), nil, &sums); status != http.StatusOK || len(sums.Data) == 0 {
			t.Fatalf("%v: the API answers %d with %d groups", c, status, len(sums.Data))
		}
		var want strings.Builder
		head, rows := usage.Table(sums.GroupBy, sums.Data)
		if err := figure.CSV(&want, head, rows); err != nil {
			t.Fatal(err)
		}
		got := b.get("/usage.csv?" + shown.Encode())
		if got.text != want.String() || !strings.HasPrefix(got.header.Get("Content-Type"), "text/csv") {
			t.Errorf("%v: the file\n%swant\n%s", c, got.text, want.String())
		}
		var whole struct {
			Data []usage.Sum `json:"data"`
		}
		asked.Set("group_by", "org")
		if status := e.Admin(http.MethodGet, "/usage?"+asked.Encode(), nil, &whole); status != http.StatusOK {
			t.Fatalf("%v: the API answers %d", c, status)
		}
		page := b.get("/usage?" + shown.Encode())
		words := figure.Count(whole.Data[0].Requests) + " requests"
		if page.status != http.StatusOK || !strings.Contains(page.text, words) || !strings.Contains(page.text, figure.Money(whole.Data[0].CostNano)) {
			t.Errorf("%v: the page (%d) lacks %q or %s", c, page.status, words, figure.Money(whole.Data[0].CostNano))
		}
	}
}

// What a range may not be is said on the page, and every range opens.
func TestRanges(t *testing.T) {
	t.Parallel()
	_, b := spend(t)
	at, err := url.Parse(b.base)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"range=today": 200, "range=24h": 200, "range=7d&by=user": 200, "range=last-month": 200, "range=all&by=org": 200, "range=nonsense": 200, "range=custom": 200,
		"range=custom&from=2026-11-01&to=2026-11-02": 200, "range=custom&from=2026-11-02&to=2026-11-01": 400, "range=custom&from=%3Cscript%3E": 400,
		"range=all&by=hour": 400, "range=custom&from=9999-01-01T00:00:00Z&to=99999": 400, "range=custom&from=2020-01-01&by=model": 200,
	} {
		for _, zone := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata"} {
			b.http.Jar.SetCookies(at, []*http.Cookie{{Name: "penstock-zone", Value: url.QueryEscape(zone)}})
			got := b.get("/usage?" + query)
			if got.status != want {
				t.Errorf("%s in %s: status %d, want %d", query, zone, got.status, want)
			}
		}
	}
}

// An address of exchanges leads to those that its number counts, and to no others.
func TestNumbersLeadToTheirExchanges(t *testing.T) {
	t.Parallel()
	e, b := spend(t)
	e.AtRest()
	from := time.Now().UTC().Truncate(time.Second).Add(-20 * time.Minute)
	span := "range=custom&from=" + from.Format(time.RFC3339)
	for query, wanted := range map[string]bool{"by=model": true, "by=hour": true, "by=model&org=default": false, "by=hour&org=default": false, "by=project&org=default": true} {
		page := b.get("/usage?" + span + "&" + query)
		found := regexp.MustCompile(`href="[^"]*exchanges\?([^"]*)"`).FindAllStringSubmatch(page.text, -1)
		if page.status != http.StatusOK || len(found) > 0 != wanted {
			t.Errorf("%s: status %d, %d addresses", query, page.status, len(found))
		}
		for _, link := range found {
			q, err := url.ParseQuery(html.UnescapeString(link[1]))
			if err != nil {
				t.Fatal(err)
			}
			if q.Get("org") != "" || q.Get("from") < from.Format(time.RFC3339) {
				t.Errorf("%s: %s", query, link[1])
			}
		}
	}
}
