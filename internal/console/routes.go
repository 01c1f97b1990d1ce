package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/internal/auth"
)

// A Page is one entry of the console's inventory.
type Page struct {
	Method, Path string          // {id} in the path stands for one segment of it
	Permission   auth.Permission // "" is everybody who is signed in
	open         bool            // strangers may, too
	serve        func(*Console, *visit) error
}

// Open reports whether the page needs nobody to be signed in.
func (p *Page) Open() bool { return p.open }

// form is how large a form for the page may be, in bytes.
func (p *Page) form() int64 {
	if p.Path == "/reconcile" {
		return maxUpload
	}
	return maxForm
}

// Pages is the whole inventory.
func Pages() []Page {
	get, post := http.MethodGet, http.MethodPost
	return []Page{
		{get, "/", auth.ReadUsage, false, (*Console).now},
		{get, "/live", auth.ReadUsage, false, (*Console).live},
		{get, "/exchanges", auth.ReadExchanges, false, (*Console).exchanges},
		{get, "/exchanges/{id}", auth.ReadExchanges, false, (*Console).exchange},
		{post, "/exchanges/{id}/bodies", auth.ReadBodies, false, (*Console).readBodies},
		{get, "/projects", auth.ReadTenants, false, (*Console).projects},
		{post, "/projects", auth.WriteTenants, false, (*Console).createProject},
		{get, "/projects/{id}", auth.ReadTenants, false, (*Console).project},
		{post, "/projects/{id}", auth.WriteTenants, false, (*Console).changeProject},
		{post, "/projects/{id}/keys", auth.WriteTenants, false, (*Console).createKey},
		{get, "/keys/{id}", auth.ReadTenants, false, (*Console).key},
		{post, "/keys/{id}/rotate", auth.WriteTenants, false, (*Console).rotateKey},
		{get, "/keys/{id}/revoke", auth.WriteTenants, false, (*Console).askRevoke},
		{post, "/keys/{id}/revoke", auth.WriteTenants, false, (*Console).revokeKey},
		{get, "/audit", auth.ReadAudit, false, (*Console).chain},
		{get, "/audit/{id}", auth.ReadAudit, false, (*Console).entry},
		{post, "/audit/checkpoint", auth.ReadAudit, false, (*Console).checkpoint},
		{post, "/audit/export", auth.ReadAudit, false, (*Console).export},
		{get, "/help", "", false, (*Console).help},
		{get, "/usage", auth.ReadUsage, false, (*Console).usage},
		{get, "/usage.csv", auth.ReadUsage, false, (*Console).usageCSV},
		{get, "/latency", auth.ReadUsage, false, (*Console).latency},
		{get, "/latency.csv", auth.ReadUsage, false, (*Console).latencyCSV},
		{get, "/models", auth.ReadRoutes, false, (*Console).models},
		{get, "/targets", auth.ReadRoutes, false, (*Console).target},
		{post, "/targets/disable", auth.WriteStops, false, (*Console).disableTarget},
		{post, "/targets/enable", auth.WriteStops, false, (*Console).enableTarget},
		{get, "/prices", auth.ReadPrices, false, (*Console).prices},
		{post, "/prices", auth.WritePrices, false, (*Console).setPrice},
		{get, "/budgets", auth.ReadBudgets, false, (*Console).budgets},
		{post, "/budgets", auth.WriteBudgets, false, (*Console).setBudget},
		{get, "/budgets/{id}", auth.ReadBudgets, false, (*Console).budget},
		{post, "/budgets/{id}/delete", auth.WriteBudgets, false, (*Console).deleteBudget},
		{post, "/limits", auth.WriteBudgets, false, (*Console).setLimit},
		{post, "/limits/{id}/delete", auth.WriteBudgets, false, (*Console).deleteLimit},
		{get, "/tiers", auth.ReadBudgets, false, (*Console).tiers},
		{get, "/tiers/{id}", auth.ReadBudgets, false, (*Console).tierPage},
		{post, "/tiers", auth.WriteBudgets, false, (*Console).setTier},
		{post, "/tiers/{id}/delete", auth.WriteBudgets, false, (*Console).deleteTier},
		{post, "/assignments", auth.WriteBudgets, false, (*Console).giveTier},
		{post, "/assignments/take", auth.WriteBudgets, false, (*Console).takeTier},
		{get, "/ledger", auth.ReadBudgets, false, (*Console).ledger},
		{get, "/ledger/entries/{id}", auth.ReadBudgets, false, (*Console).ledgerEntry},
		{get, "/ledger/accounts", auth.ReadBudgets, false, (*Console).accounts},
		{get, "/ledger/unknown", auth.ReadBudgets, false, (*Console).unknown},
		{get, "/ledger/close", auth.ReadBudgets, false, (*Console).closeMonth},
		{get, "/ledger/close.csv", auth.ReadBudgets, false, (*Console).closeCSV},
		{get, "/ledger/check", auth.ReadBudgets, false, (*Console).checkPage},
		{get, "/ledger/check/live", auth.ReadBudgets, false, (*Console).checkLive},
		{post, "/ledger/check", auth.ReadBudgets, false, (*Console).runCheck},
		{get, "/ledger/settle", auth.WriteBudgets, false, (*Console).settlePage},
		{post, "/ledger/settle", auth.WriteBudgets, false, (*Console).settleUnknown},
		{get, "/ledger/adjust", auth.WriteBudgets, false, (*Console).adjustPage},
		{post, "/ledger/adjust", auth.WriteBudgets, false, (*Console).adjust},
		{get, "/reconcile", auth.WriteBudgets, false, (*Console).reconcilePage},
		{post, "/reconcile", auth.WriteBudgets, false, (*Console).reconcileExport},
		{get, "/sign-in", "", true, (*Console).signInPage},
		{post, "/sign-in", "", true, (*Console).signIn},
		{post, "/sign-out", "", false, (*Console).signOut},
		{post, "/view", "", true, (*Console).view},
		{get, "/assets/{id}", "", true, (*Console).asset},
	}
}

// Has reports whether a path is the console's: whether one of its pages begins with the same segment.
func (c *Console) Has(path string) bool {
	first := func(path string) string {
		segment, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return segment
	}
	for i := range c.pages {
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && first(c.pages[i].Path) == first(path) {
			return true
		}
	}
	return false
}

// find looks a page up by the segments of the path as they were sent. With no page, allowed are the methods of the path.
func (c *Console) find(method, path string) (found *Page, part string, allowed []string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range c.pages {
		p := &c.pages[i]
		got, ok := matchPath(p.Path, path)
		if !ok {
			continue
		}
		if p.Method == method {
			return p, got, nil
		}
		allowed = append(allowed, p.Method)
	}
	return nil, "", allowed
}

// matchPath compares a path with a pattern and gives what stands for {id}.
func matchPath(pattern, path string) (part string, ok bool) {
	head, tail, hasPart := strings.Cut(pattern, "{id}")
	if !hasPart {
		return "", path == pattern
	}
	part, ok = strings.CutPrefix(path, head)
	if !ok {
		return "", false
	}
	if part, ok = strings.CutSuffix(part, tail); !ok || part == "" || strings.Contains(part, "/") {
		return "", false
	}
	part, err := url.PathUnescape(part)
	return part, err == nil
}
