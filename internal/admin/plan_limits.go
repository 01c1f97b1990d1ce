package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/limit"
)

// A limitPlanner compares the budgets, limits and tiers of a declaration with those that there are.
type limitPlanner struct {
	*planner
	t        tenants
	have     *limit.Definitions
	budgets  map[string]*limit.Budget // by slot, those that have not been named yet
	limits   map[string]*limit.Limit  // as budgets
	assigned map[[3]string]string     // tiers, by project, key and end user
	named    map[[3]string]bool       // of assigned
	tiers    map[string]bool          // that there are, or are to be
	declared map[string]bool          // ids of projects
	changes  *limit.Changes
}

func (p *planner) limitsOf(t tenants, d *limit.Definitions) *limitPlanner {
	l := &limitPlanner{
		planner: p, t: t, have: d, budgets: map[string]*limit.Budget{}, limits: map[string]*limit.Limit{}, assigned: map[[3]string]string{},
		named: map[[3]string]bool{}, tiers: map[string]bool{}, declared: map[string]bool{}, changes: &p.plan.limits,
	}
	l.changes.Version = d.Version
	for i := range d.Budgets {
		if b := &d.Budgets[i]; l.alive(b.Key) {
			l.budgets[budgetSlot(b)] = b
		}
	}
	for i := range d.Limits {
		if one := &d.Limits[i]; l.alive(one.Key) {
			l.limits[limitSlot(one)] = one
		}
	}
	for _, a := range d.Assigned {
		l.assigned[[3]string{a.Project, a.Key, a.User}] = a.Tier
	}
	for i := range d.Tiers {
		l.tiers[d.Tiers[i].Name] = true
	}
	return l
}

// alive reports whether a scope's key is none, each, or one that works. What is set for others is for nobody.
func (l *limitPlanner) alive(key string) bool {
	if key == "" || key == limit.Each {
		return true
	}
	_, ok := l.t.Last(key)
	return ok
}

// The slots are what tells one from another, as the store does.
func budgetSlot(b *limit.Budget) string {
	return fmt.Sprintf("%q %s %s %d", b.Scope, b.Unit, b.Per, b.From.UnixMicro())
}

func limitSlot(l *limit.Limit) string { return fmt.Sprintf("%q %s", l.Scope, l.Measure) }

// tier plans one tier.
func (l *limitPlanner) tier(path, name string, d DeclaredTier) {
	want, problems := d.read(name)
	l.problems(path, problems)
	if len(problems) > 0 {
		return
	}
	i := slices.IndexFunc(l.have.Tiers, func(t limit.Tier) bool { return t.Name == name })
	have, do := limit.Tier{}, "make"
	if i >= 0 {
		have, do = l.have.Tiers[i], "change"
	}
	if fields := tierFields(&have, &want); len(fields) > 0 || i < 0 {
		l.changes.Tiers = append(l.changes.Tiers, want)
		l.change(do, "tier", name, fields)
	}
}

func tierFields(have, want *limit.Tier) []PlanField {
	rates := func(t *limit.Tier) string {
		all := make([]string, len(t.Rates))
		for i, r := range t.Rates {
			all[i] = strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Amount, r.Measure, watched(r.Mode)))
		}
		return strings.Join(all, ", ")
	}
	budgets := func(t *limit.Tier) string {
		all := make([]string, len(t.Budgets))
		for i := range t.Budgets {
			all[i] = termsWords(&t.Budgets[i])
		}
		return strings.Join(all, ", ")
	}
	return fieldsOf(
		PlanField{"class", have.Class, want.Class}, PlanField{"models", strings.Join(have.Models, ","), strings.Join(want.Models, ",")},
		PlanField{"max_input", unlessZero(have.MaxInput), unlessZero(want.MaxInput)},
		PlanField{"max_output", unlessZero(have.MaxOutput), unlessZero(want.MaxOutput)},
		PlanField{"limits", rates(have), rates(want)}, PlanField{"budgets", budgets(have), budgets(want)},
	)
}

func unlessZero(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func watched(m limit.Mode) string {
	if m == limit.Enforce {
		return ""
	}
	return string(m)
}

// termsWords has all that terms say, so that what differs is seen.
func termsWords(t *limit.Terms) string {
	words := []string{limit.FormatAmount(t.Unit, t.Amount) + " " + string(t.Unit) + "/" + string(t.Per)}
	for _, f := range termsFields(&limit.Terms{}, t) {
		if f.Name != "amount" && f.Name != "mode" || f.After == string(limit.Observe) {
			words = append(words, f.Name+" "+f.After)
		}
	}
	return strings.Join(words, " ")
}

func termsFields(have, want *limit.Terms) []PlanField {
	text := func(t *limit.Terms) (amount, to, alerts, kept string) {
		if t.Unit != "" {
			amount = limit.FormatAmount(t.Unit, t.Amount)
		}
		if !t.To.IsZero() {
			to = t.To.UTC().Format(time.RFC3339Nano)
		}
		shares := make([]string, len(t.Alerts))
		for i, share := range t.Alerts {
			shares[i] = strconv.Itoa(share)
		}
		tags := make([]string, len(t.Kept))
		for i, k := range t.Kept {
			tags[i] = k.Tag + "=" + strconv.Itoa(k.Share)
		}
		return amount, to, strings.Join(shares, ","), strings.Join(tags, ",")
	}
	amount, to, alerts, kept := text(have)
	newAmount, newTo, newAlerts, newKept := text(want)
	return fieldsOf(
		PlanField{"amount", amount, newAmount}, PlanField{"mode", string(have.Mode), string(want.Mode)}, PlanField{"zone", have.Zone, want.Zone},
		PlanField{"to", to, newTo}, PlanField{"alerts", alerts, newAlerts}, PlanField{"kept", kept, newKept},
	)
}

// lists plans the budgets and limits that stand at one place; within says what that place says of their scope.
func (l *limitPlanner) lists(path, name string, within limit.Scope, budgets []DeclaredBudget, limits []DeclaredLimit) {
	for i := range budgets {
		at := entryAt(path, "budgets", i)
		terms, problems := budgets[i].DeclaredTerms.read("")
		b := limit.Budget{Scope: l.narrow(at, within, budgets[i].DeclaredScope), Terms: terms}
		problems = append(problems, b.Scope.Mistakes()...)
		l.problems(at, problems)
		if len(problems) == 0 {
			l.budget(at, name, b)
		}
	}
	for i := range limits {
		at := entryAt(path, "limits", i)
		rate, problems := limits[i].DeclaredRate.read("")
		one := limit.Limit{Scope: l.narrow(at, within, limits[i].DeclaredScope), Rate: rate}
		problems = append(problems, limit.Untold(problems, one.Mistakes())...)
		l.problems(at, problems)
		if len(problems) == 0 {
			l.limit(at, name, one)
		}
	}
}

// entryAt is where an entry of a list is.
func entryAt(path, list string, i int) string {
	if path != "" {
		path += "."
	}
	return fmt.Sprintf("%s%s[%d]", path, list, i)
}

// narrow gives the scope of what stands at a place.
func (l *limitPlanner) narrow(path string, within limit.Scope, d DeclaredScope) limit.Scope {
	only := func(member, value, place string) {
		switch {
		case value == "" || place == "" && value == limit.Each:
		case place != "":
			l.problem(path+"."+member, "stands within one already", "leave it out")
		default:
			l.problem(path+"."+member, quote(value)+" is not *", "write what is for one under its name")
		}
	}
	only("project", d.Project, within.Project)
	only("key", d.Key, within.Key)
	s := within
	s.User, s.Model = d.User, d.Model
	if s.Project == "" {
		s.Project = d.Project
	}
	if s.Key == "" {
		s.Key = d.Key
	}
	return s
}

func (l *limitPlanner) budget(path, name string, want limit.Budget) {
	slot, what := budgetSlot(&want), scopeName(name, &want.Scope)+" "+string(want.Unit)+"/"+string(want.Per)
	if slices.ContainsFunc(l.changes.Budgets, func(b limit.Budget) bool { return budgetSlot(&b) == slot }) || l.seen(slot) {
		l.problem(path, "there are two budgets of the same scope, unit and length", "keep one of them")
		return
	}
	have, there := l.budgets[slot]
	if !there {
		l.changes.Budgets = append(l.changes.Budgets, want)
		l.change("make", "budget", what, termsFields(&limit.Terms{}, &want.Terms))
		return
	}
	delete(l.budgets, slot)
	l.named[[3]string{slot}] = true
	if fields := termsFields(&have.Terms, &want.Terms); len(fields) > 0 {
		l.changes.Budgets = append(l.changes.Budgets, want)
		l.change("change", "budget", what, fields)
	}
}

// seen reports whether the slot was declared before.
func (l *limitPlanner) seen(slot string) bool { return l.named[[3]string{slot}] }

func (l *limitPlanner) limit(path, name string, want limit.Limit) {
	slot, what := limitSlot(&want), scopeName(name, &want.Scope)+" "+string(want.Measure)
	if slices.ContainsFunc(l.changes.Limits, func(o limit.Limit) bool { return limitSlot(&o) == slot }) || l.seen(slot) {
		l.problem(path, "there are two limits of the same scope and measure", "keep one of them")
		return
	}
	have, there := l.limits[slot]
	if !there {
		l.changes.Limits = append(l.changes.Limits, want)
		l.change("make", "limit", what, rateFields(limit.Rate{}, want.Rate))
		return
	}
	delete(l.limits, slot)
	l.named[[3]string{slot}] = true
	if fields := rateFields(have.Rate, want.Rate); len(fields) > 0 {
		l.changes.Limits = append(l.changes.Limits, want)
		l.change("change", "limit", what, fields)
	}
}

func rateFields(have, want limit.Rate) []PlanField {
	return fieldsOf(PlanField{"amount", unlessZero(have.Amount), unlessZero(want.Amount)}, PlanField{"mode", string(have.Mode), string(want.Mode)})
}

// scopeName names a scope within what has a name: "acme/checkout each user model a*".
func scopeName(name string, s *limit.Scope) string {
	words := []string{}
	if name != "" {
		words = append(words, name)
	}
	for _, each := range [...]struct{ what, value string }{{"project", s.Project}, {"key", s.Key}, {"user", s.User}} {
		switch {
		case each.value == limit.Each:
			words = append(words, "each "+each.what)
		case each.what == "user" && each.value != "":
			words = append(words, "user "+each.value)
		}
	}
	if s.Model != "" {
		words = append(words, "model "+s.Model)
	}
	if len(words) == 0 {
		return "all calls:"
	}
	return strings.Join(words, " ")
}

// give plans which tier somebody has, and gives the member that changes.
func (l *limitPlanner) give(path, member, tier string, who limit.Assignment) []PlanField {
	slot := [3]string{who.Project, who.Key, who.User}
	l.named[slot] = true
	if tier != "" && !l.tiers[tier] {
		l.problem(path+"."+member, "there is no tier "+quote(tier), "declare it under tiers, or make it with: penstock tier set NAME")
		return nil
	}
	if who.User != "" && who.User != limit.Each {
		who.Tier = tier
		l.problemsOf(path, &who)
	}
	have := l.assigned[slot]
	if have == tier {
		return nil
	}
	who.Tier = tier
	l.changes.Assigned = append(l.changes.Assigned, who)
	return []PlanField{{member, have, tier}}
}

// givenBy plans which tiers a project and its end users have.
func (l *limitPlanner) givenBy(path, id string, d DeclaredProject) []PlanField {
	fields := l.give(path, "tier", d.Tier, limit.Assignment{Project: id})
	fields = append(fields, l.give(path, "user_tier", d.UserTier, limit.Assignment{Project: id, User: limit.Each})...)
	for _, user := range sortedNames(d.UserTiers) {
		switch {
		case user == "" || user == limit.Each:
			l.problem(path+".user_tiers", quote(user)+" is not the name of an end user", "what all others have is user_tier")
		case d.UserTiers[user] == "":
			l.problem(path+".user_tiers."+user, "has no tier", "name one, or leave it out")
		default:
			fields = append(fields, l.give(path, "user_tiers."+user, d.UserTiers[user], limit.Assignment{Project: id, User: user})...)
		}
	}
	return fields
}

func (l *limitPlanner) problemsOf(path string, who *limit.Assignment) {
	for _, p := range who.Mistakes() {
		l.problem(path+".user_tiers", p.Text, p.Hint)
	}
}

// end plans what becomes of what is not declared: in declared projects it ends if it is to be pruned, all else is left.
func (l *limitPlanner) end() {
	for _, slot := range sortedNames(l.budgets) {
		b := l.budgets[slot]
		name := l.nameOf(&b.Scope) + " " + string(b.Unit) + "/" + string(b.Per)
		if !l.prune || !l.declared[b.Project] {
			l.plan.Left = append(l.plan.Left, "budget "+name)
			continue
		}
		l.changes.EndedBudgets = append(l.changes.EndedBudgets, b.ID)
		l.change("end", "budget", name, termsFields(&b.Terms, &limit.Terms{}))
	}
	for _, slot := range sortedNames(l.limits) {
		one := l.limits[slot]
		name := l.nameOf(&one.Scope) + " " + string(one.Measure)
		if !l.prune || !l.declared[one.Project] {
			l.plan.Left = append(l.plan.Left, "limit "+name)
			continue
		}
		l.changes.EndedLimits = append(l.changes.EndedLimits, one.ID)
		l.change("end", "limit", name, rateFields(one.Rate, limit.Rate{}))
	}
	l.endUsers()
}

// endUsers plans what becomes of end users' tiers that are not declared. There may be many, so those that stay are counted.
func (l *limitPlanner) endUsers() {
	left := map[string]int{}
	for _, a := range l.have.Assigned {
		if a.User == "" || l.named[[3]string{a.Project, a.Key, a.User}] {
			continue
		}
		name := l.nameOf(&limit.Scope{Project: a.Project})
		if !l.prune || !l.declared[a.Project] {
			left[name]++
			continue
		}
		l.changes.Assigned = append(l.changes.Assigned, limit.Assignment{Project: a.Project, User: a.User})
		l.change("change", "project", name, []PlanField{{"user_tiers." + a.User, a.Tier, ""}})
	}
	for _, name := range sortedNames(left) {
		l.plan.Left = append(l.plan.Left, fmt.Sprintf("tiers of %d end users of %s", left[name], name))
	}
}

// nameOf names what a scope is of, for a person.
func (l *limitPlanner) nameOf(s *limit.Scope) string {
	name := s.Org
	if p, ok := l.t.Projects[s.Project]; ok {
		name = p.Org + "/" + p.Name
		if k, alive := l.t.Last(s.Key); alive {
			name += "/" + k.Name
		}
	}
	return scopeName(name, s)
}
