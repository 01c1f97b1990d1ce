package console_test

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// usageOf reads the CSV of usage: requests by the values of the first column.
func (b *browser) usageOf(query string) map[string]string {
	b.t.Helper()
	got := b.get("/usage.csv?range=all&" + query)
	rows, err := csv.NewReader(strings.NewReader(got.text)).ReadAll()
	if err != nil || got.status != http.StatusOK {
		b.t.Fatalf("%s: %d, %v: %s", query, got.status, err, got.text)
	}
	all := map[string]string{}
	for _, row := range rows[1:] {
		all[row[0]] = row[1]
	}
	return all
}

// What is made of targets and projects, providers and labels, can be told apart, and chosen: each row leads to what it is made of, and the
// parts add up to it.
func TestUsageOfProvidersAndLabels(t *testing.T) {
	t.Parallel()
	e, b := spend(t)
	e.AtRest()
	for project, team := range map[string]string{"checkout": "a & b", "search": "c"} {
		if status := e.Admin(http.MethodPatch, "/projects/"+project, map[string]any{"labels": map[string]string{"team": team}}, nil); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	for query, want := range map[string]map[string]string{
		"by=provider":                                   {"": "2", "sim-a": "3", "sim-b": "2"},
		"by=target&provider=sim-a":                      {"sim-a/m": "3"},
		"by=target&provider=sim-b":                      {"sim-b/m": "2"},
		"by=provider&provider=sim-b":                    {"sim-b": "2"},
		"by=label:team":                                 {"a & b": "4", "c": "3"},
		"by=provider&label:team=c":                      {"": "1", "sim-a": "1", "sim-b": "1"},
		"by=user&provider=sim-a":                        {"ada": "2", "bob": "1"},
		"by=tag&provider=sim-a":                         {"a": "2", "b": "2"},
		"by=model&provider=nobody":                      {},
		"by=target&label:team=c&provider=sim-a":         {"sim-a/m": "1"},
		"by=org&label:team=c&provider=sim-b":            {"default": "1"},
		"by=user&label:team=c&label:floor=1":            {},
		"by=org&label:team=" + url.QueryEscape("a & b"): {"default": "4"},
	} {
		got := b.usageOf(query)
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
			continue
		}
		for value, n := range want {
			if got[value] != n {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
		if page := b.get("/usage?range=all&" + query); page.status != http.StatusOK {
			t.Errorf("%s: the page answers %d", query, page.status)
		}
	}
	page := b.get("/usage?range=all&by=provider")
	page.shows(t, "usage?by=target&amp;provider=sim-a&amp;range=all")
	page = b.get("/usage?range=all&by=target&provider=sim-a")
	page.shows(t, `<span class="muted">provider</span> sim-a`, "3 requests", "exchanges?range=all&amp;target=sim-a%2Fm")
	page.lacks(t, "all exchanges", "On the command line")
	page = b.get("/usage?range=all&by=target&label:team=c&provider=sim-a")
	page.shows(t, `<span class="muted">provider</span> sim-a`, `<span class="muted">label:team</span> c`, "1 request")
	page.lacks(t, "all exchanges", "exchanges?range=all&amp;target=sim-a%2Fm")
	b.get("/usage?range=all&by=label:team").shows(t, "usage?by=project&amp;label%3Ateam=a&#43;%26&#43;b&amp;range=all")
}

// What usage cannot be told apart by is refused, on the page and in the file, with what there is.
func TestUsageOfWhatThereIsNot(t *testing.T) {
	t.Parallel()
	_, b := spend(t)
	for query, want := range map[string]string{
		"by=nonsense": "It is model, target, provider", "by=label:": "or label:NAME", "by=%3Cb%3E": "&lt;b&gt;", "show=nonsense": "It is money, tokens or requests",
		"range=custom&from=then": "Write 2026-11-24", "by=hour&range=all": "32 days at most",
	} {
		for _, page := range []string{"/usage?", "/usage.csv?"} {
			got := b.get(page + query)
			if got.status != http.StatusBadRequest {
				t.Errorf("%s%s: %d", page, query, got.status)
			}
			got.shows(t, want)
		}
	}
	b.get("/usage?project=nobody&range=all").shows(t, "Nothing was asked in this range")
}
