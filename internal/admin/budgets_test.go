package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
)

// Faults 16 and 17: what is not known, or no amount, is refused at the edge, in words that say where and how to mend it.
func TestBudgetsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	key := w.makeKey(admin.KeyInput{Project: "home", Name: "ci"})
	w.Key("elsewhere")
	for _, c := range []struct {
		path, body string
		status     int
		want       string // part of the message or hint
	}{
		{"budgets", `{"budgett":"1"}`, 400, "budgett is not a member that is known here"},
		{"budgets", `{"amount":"1","per":"day","projekt":"home"}`, 400, "Known are org, project, key, user, model, amount, tokens, per"},
		{"budgets", `{"amount":"1","per":"day","kept":[{"tag":"a","share":1,"x":1}]}`, 400, "kept[0].x is not a member"},
		{"budgets", `{"amount":1,"per":"day"}`, 400, "amount is not text"},
		{"budgets", `{"amount":"-1","per":"day"}`, 400, `amount: "-1" is not an amount`},
		{"budgets", `{"amount":"NaN","per":"day"}`, 400, `"NaN" is not an amount`},
		{"budgets", `{"amount":"Inf","per":"day"}`, 400, `"Inf" is not an amount`},
		{"budgets", `{"amount":"1e308","per":"day"}`, 400, `"1e308" is not an amount`},
		{"budgets", `{"amount":"0x1","per":"day"}`, 400, `"0x1" is not an amount`},
		{"budgets", `{"amount":"1,5","per":"day"}`, 400, `"1,5" is not an amount`},
		{"budgets", `{"amount":"١","per":"day"}`, 400, `is not an amount`},
		{"budgets", `{"amount":" 1","per":"day"}`, 400, `is not an amount`},
		{"budgets", `{"amount":"0.0000000001","per":"day"}`, 400, `at most 9 decimals`},
		{"budgets", `{"amount":"99999999999999999999","per":"day"}`, 400, `is too large`},
		{"budgets", `{"amount":"1000000001","per":"day"}`, 400, `is more than 1000000000 dollars`},
		{"budgets", `{"amount":"` + strings.Repeat("1", 10_000) + `","per":"day"}`, 400, `1111..." is not an amount`},
		{"budgets", `{"tokens":-1,"per":"day"}`, 400, `tokens: "-1" is not a whole number`},
		{"budgets", `{"tokens":1e308,"per":"day"}`, 400, `tokens is not a whole number`},
		{"budgets", `{"tokens":1.5,"per":"day"}`, 400, `tokens is not a whole number`},
		{"budgets", `{"tokens":"5","per":"day"}`, 400, `tokens is not a whole number`},
		{"budgets", `{"tokens":9223372036854775808,"per":"day"}`, 400, `tokens is not a whole number`},
		{"budgets", `{"tokens":9223372036854775807,"per":"day"}`, 400, `is more than 1000000000000000000 tokens`},
		{"budgets", `{"amount":"1","tokens":1,"per":"day"}`, 400, "make two"},
		{"budgets", `{"per":"day"}`, 400, "amount: is missing"},
		{"budgets", `{"amount":"1"}`, 400, `per: "" is no length of a window`},
		{"budgets", `{"amount":"1","per":"fortnight"}`, 400, `write hour, day, week, month or term`},
		{"budgets", `{"amount":"1","per":"day","from":"2026-01-01"}`, 400, `only a term has a beginning`},
		{"budgets", `{"amount":"1","per":"term"}`, 400, `a term needs a beginning and a later end`},
		{"budgets", `{"amount":"1","per":"term","from":"2026-01-02","to":"2026-01-02"}`, 400, `a term needs a beginning and a later end`},
		{"budgets", `{"amount":"1","per":"term","from":"tomorrow","to":"2026-01-02"}`, 400, `from: "tomorrow" is not an instant.`},
		{"budgets", `{"amount":"1","per":"day","zone":"Mars/Olympus"}`, 400, `zone: "Mars/Olympus" is not a time zone`},
		{"budgets", `{"amount":"1","per":"day","zone":"Local"}`, 400, `zone: "Local" is not a time zone`},
		{"budgets", `{"amount":"1","per":"day","zone":"../../etc/passwd"}`, 400, `is not a time zone`},
		{"budgets", `{"amount":"1","per":"day","mode":"warn"}`, 400, `mode: "warn" is not a mode. Write enforce or observe`},
		{"budgets", `{"amount":"1","per":"day","alerts":[0]}`, 400, `alerts[0]: 0 is not from 1 to 100`},
		{"budgets", `{"amount":"1","per":"day","alerts":[50,101]}`, 400, `alerts[1]: 101 is not from 1 to 100`},
		{"budgets", `{"amount":"1","per":"day","alerts":[50,50]}`, 400, `alerts[1]: 50 does not come after 50`},
		{"budgets", `{"amount":"1","per":"day","kept":[{"tag":"a","share":60},{"tag":"b","share":41}]}`, 400, `the shares are 101 percent together`},
		{"budgets", `{"amount":"1","per":"day","kept":[{"tag":"a","share":100}]}`, 400, `kept[0].share: 100 is not from 1 to 99`},
		{"budgets", `{"amount":"1","per":"day","kept":[{"tag":"a,b","share":10}]}`, 400, `kept[0].tag: "a,b" is not a tag`},
		{"budgets", `{"amount":"1","per":"day","kept":[{"tag":"a","share":1},{"tag":"a","share":2}]}`, 400, `"a" is there twice`},
		{"budgets", `{"amount":"1","per":"day","model":"gpt-[45]"}`, 400, `model: "gpt-[45]" has a sign of other patterns`},
		{"budgets", `{"amount":"1","per":"day","user":"a\u0000b"}`, 400, `user: "a\x00b" has a character that cannot be seen`},
		{"budgets", `{"amount":"1","per":"day","org":"*"}`, 400, `not for each organisation`},
		{"budgets", `{"amount":"1","per":"day","org":"nobody"}`, 404, `There is no organisation "nobody" here`},
		{"budgets", `{"amount":"1","per":"day","project":"nobody"}`, 404, `There is no project "nobody"`},
		{"budgets", `{"amount":"1","per":"day","project":"home","key":"nobody"}`, 404, `The project has no key "nobody"`},
		{"budgets", `{"amount":"1","per":"day","key":"ci"}`, 400, `Name its project, too`},
		{"budgets", `{"amount":"1","per":"day","project":"*","key":"ci"}`, 400, `Name its project`},
		{"budgets", `{"amount":"1","per":"day","project":"elsewhere","key":"` + key.ID + `"}`, 400, `is not a key of the project`},
		{"budgets", `{"amount":"x","per":"y","zone":"z","mode":"m","alerts":[0]}`, 400, `5 mistakes: amount: "x" is not an amount`},
		{"limits", `{"measure":"requests","amount":0}`, 400, `amount: 0 is not from 1 to 1000000000000. To let nothing through, stop it`},
		{"limits", `{"measure":"requests","amount":-5}`, 400, `-5 is not from 1`},
		{"limits", `{"measure":"requests","amount":1e308}`, 400, `amount is not a whole number`},
		{"limits", `{"measure":"request","amount":5}`, 400, `measure: "request" is not counted. Write one of requests`},
		{"limits", `{"measure":"tokens","amount":5,"per":"day"}`, 400, `per is not a member`},
		{"tiers", `{}`, 400, `name: is empty`},
		{"tiers", `{"name":"a/b"}`, 400, `name: "a/b" is not the name of a tier`},
		{"tiers", `{"name":"a","class":"best"}`, 400, `class: "best" is not a class`},
		{"tiers", `{"name":"a","max_output":-1}`, 400, `max_output: -1 is not from 1`},
		{"tiers", `{"name":"a","models":["",","]}`, 400, `models[0]: is empty`},
		{"tiers", `{"name":"a","limits":[{"measure":"tokens","amount":1},{"measure":"tokens","amount":2}]}`, 400, `limits[1].measure: "tokens" is there twice`},
		{"tiers", `{"name":"a","budgets":[{"amount":"1","per":"day"},{"amount":"2","per":"day"}]}`, 400, `there are two budgets in usd per day`},
		{"tiers", `{"name":"a","budgets":[{"amount":"-1","per":"day"}]}`, 400, `budgets[0].amount: "-1" is not an amount`},
		{"assignments", `{"tier":"none","project":"home"}`, 404, `There is no tier with the name "none"`},
		{"assignments", `{"tier":"none","project":"*"}`, 400, `by name. Only user may be *`},
		{"assignments", `{"tier":"none"}`, 400, `project: is missing`},
		{"assignments", `{"project":"home"}`, 400, `tier: is missing`},
		{"assignments", `{"tier":"x","project":"home","key":"ci","user":"u"}`, 400, `not to both together`},
	} {
		a := w.call(http.MethodPut, "/admin/v1/"+c.path, w.keys[auth.RoleOperator], c.body)
		if r := a.refusal(t); a.status != c.status || !strings.Contains(r.Message+" "+r.Hint, c.want) {
			t.Errorf("%s %.200s: status %d, want %d and %q:\n%s", c.path, c.body, a.status, c.status, c.want, a.body)
		}
	}
	for _, path := range []string{"budgets", "limits", "tiers", "assignments"} {
		if a := w.call(http.MethodGet, "/admin/v1/"+path, w.keys[auth.RoleViewer], ""); a.body != `{"data":[],"next":""}` {
			t.Errorf("a refusal left %s: %s", path, a.body)
		}
	}
}

// drawTerms draws what a budget may allow.
func drawTerms(t *rapid.T) admin.TermsInput {
	in := admin.TermsInput{
		Per: rapid.SampledFrom([]string{"hour", "day", "week", "month", "term"}).Draw(t, "per"), Zone: rapid.SampledFrom([]string{"", "Europe/Berlin", "UTC"}).Draw(t, "zone"),
		Mode: rapid.SampledFrom([]string{"enforce", "observe"}).Draw(t, "mode"), Alerts: rapid.SliceOfNDistinct(rapid.IntRange(1, 100), 0, 5, rapid.ID).Draw(t, "alerts"),
	}
	slices.Sort(in.Alerts)
	if rapid.Bool().Draw(t, "in tokens") {
		in.Tokens = new(rapid.Int64Range(0, limit.MaxAmount).Draw(t, "tokens"))
	} else {
		in.Amount = llm.Money(rapid.Int64Range(0, limit.MaxAmount).Draw(t, "amount")).String()
	}
	if in.Per == "term" {
		in.From, in.To = "2026-03-01T00:00:00.5Z", "2027-03-29T09:30:00Z"
	}
	for _, tag := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"gold", "vip", "batch 2"}), 0, 3, rapid.ID).Draw(t, "tags") {
		in.Kept = append(in.Kept, admin.Kept{Tag: tag, Share: rapid.IntRange(1, 33).Draw(t, "share")})
	}
	return in
}

// readBack is what has to be written to make what was read.
func readBack(terms admin.Terms) admin.TermsInput {
	in := admin.TermsInput{Amount: terms.Amount, Tokens: terms.Tokens, Per: terms.Per, Zone: terms.Zone, Mode: terms.Mode, Alerts: terms.Alerts, Kept: terms.Kept}
	if terms.From != nil {
		in.From, in.To = terms.From.Format("2006-01-02T15:04:05.999999Z07:00"), terms.To.Format("2006-01-02T15:04:05.999999Z07:00")
	}
	return in
}

// Fault 16: what is read is what was written, of budgets, limits and tiers, and is found again in the list.
func TestReadBackEqualsWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	home := get[pageOf[admin.Project]](w, "/projects").Data
	project := home[slices.IndexFunc(home, func(p admin.Project) bool { return p.Name == "home" })]
	key := w.makeKey(admin.KeyInput{Project: "home", Name: "ci"})
	put := func(t *rapid.T, path string, in, out any) {
		if status := w.Admin(http.MethodPut, path, in, out); status != http.StatusOK {
			text, _ := json.Marshal(in)
			t.Fatalf("PUT %s: status %d: %s", path, status, text)
		}
	}
	equal := func(t *rapid.T, got, want any) {
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read back (- written, + read):\n%s", diff)
		}
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 25 {
			return
		}
		scope := admin.ScopeInput{
			Org: project.Org, Project: rapid.SampledFrom([]string{project.ID, limit.Each}).Draw(t, "project"),
			User: rapid.SampledFrom([]string{"", limit.Each, "ann", `b"ö日`}).Draw(t, "user"), Model: rapid.SampledFrom([]string{"", "a*", "openai/*"}).Draw(t, "model"),
		}
		if scope.Project == project.ID {
			scope.Key = rapid.SampledFrom([]string{"", limit.Each, key.ID}).Draw(t, "key")
		}
		in := admin.BudgetInput{ScopeInput: scope, TermsInput: drawTerms(t)}
		var b admin.Budget
		put(t, "/budgets", in, &b)
		equal(t, readBack(b.Terms), in.TermsInput)
		equal(t, admin.ScopeInput{Org: b.Org, Project: b.Project, Key: b.Key, User: b.User, Model: b.Model}, scope)
		listed := get[admin.Budget](w, "/budgets/"+b.ID)
		listed.Windows, b.Windows = nil, nil
		equal(t, listed, b)

		tier := admin.TierInput{
			Name: "gold", Class: rapid.SampledFrom([]string{"", "priority", "default", "flex"}).Draw(t, "class"), Models: rapid.SliceOfN(rapid.SampledFrom([]string{"a*", "b/c"}), 0, 3).Draw(t, "models"),
			MaxInput: rapid.Int64Range(0, limit.MaxRate).Draw(t, "max input"), MaxOutput: rapid.Int64Range(0, limit.MaxRate).Draw(t, "max output"),
		}
		var together []admin.LimitInput
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom(limit.Measures()), 0, 5, rapid.ID).Draw(t, "measures") {
			r := admin.Rate{Measure: string(m), Amount: rapid.Int64Range(1, limit.MaxRate).Draw(t, "rate"), Mode: rapid.SampledFrom([]string{"enforce", "observe"}).Draw(t, "mode")}
			tier.Limits = append(tier.Limits, r)
			var l admin.Limit
			put(t, "/limits", admin.LimitInput{ScopeInput: scope, Rate: r}, &l)
			together = append(together, admin.LimitInput{ScopeInput: scope, Rate: r})
			equal(t, l.Rate, r)
			equal(t, admin.ScopeInput{Org: l.Org, Project: l.Project, Key: l.Key, User: l.User, Model: l.Model}, scope)
		}
		if len(together) > 0 {
			var set pageOf[admin.Limit]
			if status := w.Admin(http.MethodPost, "/limits", admin.LimitsInput{Data: together}, &set); status != http.StatusOK || len(set.Data) != len(together) {
				t.Fatalf("POST /limits: status %d, %+v", status, set)
			}
			for i, l := range set.Data {
				equal(t, l.Rate, together[i].Rate)
				equal(t, admin.ScopeInput{Org: l.Org, Project: l.Project, Key: l.Key, User: l.User, Model: l.Model}, scope)
			}
		}
		if rapid.Bool().Draw(t, "with a budget") {
			tier.Budgets = append(tier.Budgets, drawTerms(t))
		}
		var read admin.Tier
		put(t, "/tiers", tier, &read)
		back := admin.TierInput{Name: read.Name, Class: read.Class, Models: read.Models, MaxInput: read.MaxInput, MaxOutput: read.MaxOutput, Limits: read.Limits}
		for _, terms := range read.Budgets {
			back.Budgets = append(back.Budgets, readBack(terms))
		}
		equal(t, back, tier)
	})
}

// A budget keeps its id when it is set again, shows its window, and goes when it is deleted.
func TestBudgetsAreSetAndDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	var first, second, gone admin.Budget
	in := admin.BudgetInput{ScopeInput: admin.ScopeInput{Project: "home"}, TermsInput: admin.TermsInput{Amount: "1.50", Per: "month", Zone: "America/New_York"}}
	w.Admin(http.MethodPut, "/budgets", in, &first)
	if first.ProjectName != "home" || first.Org != "default" || first.Amount != "1.5" || first.Nano == nil || *first.Nano != 1_500_000_000 || len(first.Windows) != 1 {
		t.Fatalf("%+v", first)
	}
	if win := first.Windows[0]; *win.LimitNano != 1_500_000_000 || *win.FreeNano != 1_500_000_000 || *win.SettledNano != 0 || win.RunOut != nil || win.Start.Hour() != 5 && win.Start.Hour() != 4 {
		t.Errorf("window %+v", win)
	}
	in.Amount = "2"
	w.Admin(http.MethodPut, "/budgets", in, &second)
	if second.ID != first.ID || second.Version != first.Version+1 || *second.Windows[0].LimitNano != 2_000_000_000 {
		t.Errorf("set again: %+v", second)
	}
	tokens := admin.BudgetInput{ScopeInput: admin.ScopeInput{Project: "home", User: "*"}, TermsInput: admin.TermsInput{Tokens: new(int64(500)), Per: "day"}}
	w.Admin(http.MethodPut, "/budgets", tokens, &gone)
	if len(gone.Windows) != 0 {
		t.Errorf("a budget for each user that has none: %+v", gone.Windows)
	}
	all, pages := walk[admin.Budget](w, "/budgets?project=home", 1)
	if len(all) != 2 || pages < 2 {
		t.Errorf("listed %d budgets in %d pages", len(all), pages)
	}
	if status := w.Admin(http.MethodDelete, "/budgets/"+first.ID, nil, &gone); status != http.StatusOK || gone.ID != first.ID {
		t.Errorf("delete: %d %+v", status, gone)
	}
	if status := w.Admin(http.MethodDelete, "/budgets/"+first.ID, nil, nil); status != http.StatusNotFound {
		t.Errorf("delete again: %d", status)
	}
	if status := w.Admin(http.MethodGet, "/budgets/"+first.ID, nil, nil); status != http.StatusNotFound {
		t.Errorf("read what is deleted: %d", status)
	}
}

// What is set for a key holds for the keys that replace it: a rotation is no way to a second budget.
func TestBudgetsFollowRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	key := w.makeKey(admin.KeyInput{Project: "home", Name: "ci"})
	set := func(key string) (b admin.Budget) {
		w.Admin(http.MethodPut, "/budgets", admin.BudgetInput{ScopeInput: admin.ScopeInput{Project: "home", Key: key}, TermsInput: admin.TermsInput{Amount: "1", Per: "day"}}, &b)
		return b
	}
	first := set(key.ID)
	for range 3 {
		if status := w.Admin(http.MethodPost, "/keys/"+key.ID+"/rotate", admin.RotateInput{Overlap: "1h"}, &key); status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	for _, name := range []string{key.ID, "ci"} {
		if b := set(name); b.ID != first.ID || b.KeyName != "ci" {
			t.Errorf("a budget of %s after rotations: %+v, before %+v", name, b, first)
		}
	}
}

// A tier is given, taken, and not deleted while somebody has it.
func TestTiersAreGivenAndTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	w.makeKey(admin.KeyInput{Project: "home", Name: "ci"})
	for _, name := range []string{"gold", "silver"} {
		w.Admin(http.MethodPut, "/tiers", admin.TierInput{Name: name}, nil)
	}
	for i, in := range []admin.AssignmentInput{
		{Tier: "gold", Project: "home"}, {Tier: "silver", Project: "home", User: "*"}, {Tier: "gold", Project: "home", User: "ann & bob"}, {Tier: "silver", Project: "home", Key: "ci"},
	} {
		var out admin.Assignment
		if status := w.Admin(http.MethodPut, "/assignments", in, &out); status != http.StatusOK || out.Tier != in.Tier || out.User != in.User || out.KeyName != in.Key || out.ProjectName != "home" {
			t.Errorf("assignment %d: %d %+v", i, status, out)
		}
	}
	all, pages := walk[admin.Assignment](w, "/assignments?tier=gold", 1)
	if len(all) != 2 || pages != 2 {
		t.Errorf("listed %d in %d pages: %+v", len(all), pages, all)
	}
	if tiers := get[pageOf[admin.Tier]](w, "/tiers").Data; len(tiers) != 2 || tiers[0].Assigned != 2 || tiers[1].Assigned != 2 {
		t.Errorf("tiers %+v", tiers)
	}
	if a := w.call(http.MethodDelete, "/admin/v1/tiers/gold", w.keys[auth.RoleAdmin], ""); a.status != http.StatusConflict || a.refusal(t).Code != "in_use" {
		t.Errorf("delete what is in use: %d %s", a.status, a.body)
	}
	for _, user := range []string{"", "ann & bob"} {
		path := "/assignments?" + url.Values{"project": {"home"}, "user": {user}}.Encode()
		if status := w.Admin(http.MethodDelete, path, nil, nil); status != http.StatusOK {
			t.Errorf("take: %d", status)
		}
		if status := w.Admin(http.MethodDelete, path, nil, nil); status != http.StatusNotFound {
			t.Errorf("take again: %d", status)
		}
	}
	if status := w.Admin(http.MethodDelete, "/tiers/gold", nil, nil); status != http.StatusOK {
		t.Errorf("delete: %d", status)
	}
	var acts []string
	for _, e := range get[pageOf[audit.Entry]](w, fmt.Sprintf("/audit?limit=%d", 3)).Data {
		acts = append(acts, string(e.Action))
	}
	if want := []string{"tier.delete", "tier.take", "tier.take"}; !slices.Equal(acts, want) {
		t.Errorf("acts %v, want %v", acts, want)
	}
}

// Limits are set together, all or none: one that is wrong, or there twice, leaves all as they were.
func TestLimitsAreSetTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	one := func(measure string, amount int64) admin.LimitInput {
		return admin.LimitInput{ScopeInput: admin.ScopeInput{Project: "home"}, Rate: admin.Rate{Measure: measure, Amount: amount}}
	}
	elsewhere := one("tokens", 5)
	elsewhere.Project = "nowhere"
	for want, data := range map[string][]admin.LimitInput{
		"data[1].amount: 0 is not from 1":   {one("requests", 60), one("tokens", 0)},
		"same scope and measure as data[0]": {one("requests", 60), one("tokens", 5), one("requests", 61)},
		"nowhere":                           {one("requests", 60), elsewhere},
		"send from 1 to 100":                nil,
	} {
		text, _ := json.Marshal(admin.LimitsInput{Data: data})
		if a := w.call(http.MethodPost, "/admin/v1/limits", w.keys[auth.RoleAdmin], string(text)); a.status/100 != 4 || !strings.Contains(a.body, want) {
			t.Errorf("%d %s, want %s", a.status, a.body, want)
		}
	}
	if left := get[pageOf[admin.Limit]](w, "/limits").Data; len(left) != 0 {
		t.Errorf("what was refused left %+v", left)
	}
	var set pageOf[admin.Limit]
	if status := w.Admin(http.MethodPost, "/limits", admin.LimitsInput{Data: []admin.LimitInput{one("requests", 60), one("tokens", 5)}}, &set); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if diff := cmp.Diff(set.Data, get[pageOf[admin.Limit]](w, "/limits").Data, cmpopts.SortSlices(func(a, b admin.Limit) bool { return a.ID < b.ID })); diff != "" {
		t.Errorf("what is there is not what was said to be set:\n%s", diff)
	}
}

// Who has looked at a budget, a limit or a tier does not overwrite what somebody else has changed since, and is told how to mend it.
func TestChangesOnAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for path, body := range map[string]string{
		"budgets": `{"project":"home","amount":"1","per":"day"%s}`,
		"limits":  `{"project":"home","measure":"requests","amount":60%s}`,
		"tiers":   `{"name":"gold"%s}`,
	} {
		put := func(on string) (answer, int64) {
			a := w.call(http.MethodPut, "/admin/v1/"+path, w.keys[auth.RoleAdmin], fmt.Sprintf(body, on))
			var of struct {
				Version int64 `json:"version"`
			}
			_ = json.Unmarshal([]byte(a.body), &of) // a refusal has none
			return a, of.Version
		}
		first, version := put(`,"version":0`)
		if first.status != http.StatusOK || version == 0 {
			t.Fatalf("%s: make: %d %s", path, first.status, first.body)
		}
		if again, _ := put(`,"version":0`); again.status != http.StatusConflict || again.refusal(t).Code != "already_exists" {
			t.Errorf("%s: make again: %d %s", path, again.status, again.body)
		}
		on := fmt.Sprintf(`,"version":%d`, version)
		if changed, next := put(on); changed.status != http.StatusOK || next <= version {
			t.Errorf("%s: change: %d %s", path, changed.status, changed.body)
		}
		late, _ := put(on)
		if r := late.refusal(t); late.status != http.StatusConflict || r.Code != "changed_meanwhile" || !strings.Contains(r.Message, "it is version") || !strings.Contains(r.Hint, "Read it again") {
			t.Errorf("%s: change what was changed: %d %s", path, late.status, late.body)
		}
		if anyway, _ := put(""); anyway.status != http.StatusOK {
			t.Errorf("%s: change whatever is there: %d %s", path, anyway.status, anyway.body)
		}
		if wrong, _ := put(`,"version":-1`); wrong.status != http.StatusBadRequest || !strings.Contains(wrong.body, "version") {
			t.Errorf("%s: version below 0: %d %s", path, wrong.status, wrong.body)
		}
	}
}
