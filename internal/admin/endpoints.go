package admin

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/penstock/penstock/internal/auth"
)

// An Endpoint is one entry of the control plane's inventory.
type Endpoint struct {
	Method, Path string          // {id} in the path stands for one segment of it
	Permission   auth.Permission // "" is open to everybody
	Status       int             // of an answer that is no error
	Summary      string          // one sentence
	Query        []Param
	Action
}

// A Param is a parameter that a query may have. All can be left out.
type Param struct{ Name, Meaning string }

// An Action is what an endpoint does. In and Out are the types of the bodies, nil where there is none.
type Action struct {
	In, Out    reflect.Type
	MayBeEmpty bool // the request may come without a body
	Slow       bool // it may take long, since it reads or writes as much as there is
	File       bool // the body brings a file, and may be larger for it
	serve      func(*API, context.Context, *call) (any, error)
}

// gives makes the action of a handler that takes no body.
func gives[Out any](handle func(*API, context.Context, *call) (Out, error)) Action {
	return Action{
		Out:   reflect.TypeFor[Out](),
		serve: func(a *API, ctx context.Context, c *call) (any, error) { return handle(a, ctx, c) },
	}
}

// takes makes the action of a handler with a body, which is read before it is called.
func takes[In, Out any](handle func(*API, context.Context, *call, In) (Out, error)) Action {
	return Action{
		In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
		serve: func(a *API, ctx context.Context, c *call) (any, error) {
			var in In
			if err := c.body.read(&in); err != nil {
				return nil, err
			}
			return handle(a, ctx, c, in)
		},
	}
}

// withFile is an action whose body brings a file.
func withFile(a Action) Action {
	a.File = true
	return a
}

// slowly is an action that may take long.
func slowly(a Action) Action {
	a.Slow = true
	return a
}

// mayTake is takes for a body that may be left out.
func mayTake[In, Out any](handle func(*API, context.Context, *call, In) (Out, error)) Action {
	action := takes(handle)
	action.MayBeEmpty = true
	return action
}

var (
	paging = []Param{
		{"limit", "at most so many, from 1 to 1000; 200 if it is left out"},
		{"after", "go on behind this id: the next of the page before"},
	}
	ofProject = Param{"project", "only of this project, by id, or by name if only one organisation has the name"}
	between   = []Param{
		{"from", "first instant: RFC 3339, or a day (its start in UTC)"},
		{"to", "instant before which to stop: RFC 3339, or a day (its start in UTC)"},
	}
	selecting = []Param{
		ofProject,
		{"key", "only of this key, by id"},
		{"model", "only of this model, as it was asked for"},
		{"target", "only answered by this target: PROVIDER/MODEL"},
		{"user", "only of this end user"},
		{"tag", "only with this tag"},
		{"trace", "only of this trace: the 32 hexadecimal digits of a W3C trace id"},
		{"status", "only with this outcome: ok, error, a class such as 4xx, or a status such as 429"},
	}
)

// Endpoints is the whole inventory.
func Endpoints() []Endpoint {
	return []Endpoint{
		{http.MethodPost, "/admin/v1/projects", auth.WriteTenants, http.StatusCreated,
			"Make a project.", nil, takes((*API).createProject)},
		{http.MethodGet, "/admin/v1/projects", auth.ReadTenants, http.StatusOK,
			"List projects by name.", paging, gives((*API).listProjects)},
		{http.MethodPatch, "/admin/v1/projects/{id}", auth.WriteTenants, http.StatusOK,
			"Change a project, named by id or name; what is left out stays as it is.", nil, takes((*API).changeProject)},
		{http.MethodPost, "/admin/v1/keys", auth.WriteTenants, http.StatusCreated,
			"Make a key; the answer is the only one that ever holds it.", nil, takes((*API).createKey)},
		{http.MethodGet, "/admin/v1/keys", auth.ReadTenants, http.StatusOK,
			"List keys, the oldest first.", with(paging, ofProject), gives((*API).listKeys)},
		{http.MethodPatch, "/admin/v1/keys/{id}", auth.WriteTenants, http.StatusOK,
			"Change a key's name, models, expiry or role; what is left out stays as it is.", nil, takes((*API).changeKey)},
		{http.MethodPost, "/admin/v1/keys/{id}/revoke", auth.WriteTenants, http.StatusOK,
			"End a key; it is refused everywhere within 5 s.", nil, mayTake((*API).revokeKey)},
		{http.MethodPost, "/admin/v1/keys/{id}/rotate", auth.WriteTenants, http.StatusCreated,
			"Replace a key; the old one works on for the overlap.", nil, mayTake((*API).rotateKey)},
		{http.MethodGet, "/admin/v1/declaration", auth.WriteRoles, http.StatusOK,
			"Declare all that there is of projects, keys (as hashes), prices, budgets, limits and tiers; that it was done is an entry of the audit chain.", nil, gives((*API).exportDeclaration)},
		{http.MethodPost, "/admin/v1/declaration/plan", auth.WriteTenants, http.StatusOK,
			"Say what applying a declaration would change, and all that is wrong with it.", nil, takes((*API).planDeclaration)},
		{http.MethodPost, "/admin/v1/declaration/apply", auth.WriteTenants, http.StatusOK,
			"Make what a declaration changes, all or nothing.", nil, takes((*API).applyDeclaration)},
		{http.MethodGet, "/admin/v1/exchanges", auth.ReadExchanges, http.StatusOK,
			"List records of exchanges, the newest first.", with(with(paging, between...), selecting...), gives((*API).listExchanges)},
		{http.MethodGet, "/admin/v1/exchanges/{id}", auth.ReadExchanges, http.StatusOK,
			"The record of one exchange.", nil, gives((*API).exchange)},
		{http.MethodGet, "/admin/v1/exchanges/{id}/bodies", auth.ReadBodies, http.StatusOK,
			"What was asked and answered in an exchange, if its project keeps bodies; that it is read is in the audit chain.", []Param{forReason}, gives((*API).readBodies)},
		{http.MethodGet, "/admin/v1/usage", auth.ReadUsage, http.StatusOK,
			"Sums of tokens and money; by default of this month (UTC) by model.", with(with(between, grouping, inZone), choosing...), gives((*API).usage)},
		{http.MethodGet, "/admin/v1/latency", auth.ReadUsage, http.StatusOK,
			"Percentiles of how long whole answers took; by default of the last 24 hours by model.", with(between, latencyGrouping, ofProject, selecting[2], selecting[3]), gives((*API).latency)},
		{http.MethodGet, "/admin/v1/prices", auth.ReadPrices, http.StatusOK,
			"List what the models in use cost, and every price that an operator set.", []Param{onlyMissing}, gives((*API).listPrices)},
		{http.MethodPut, "/admin/v1/prices", auth.WritePrices, http.StatusOK,
			"Set prices, all or none; those not named stay as they are.", nil, takes((*API).setPrices)},
		{http.MethodPut, "/admin/v1/budgets", auth.WriteBudgets, http.StatusOK,
			"Make a budget, or change the one of the same scope, unit, per and from: what was used of the window stays used.", nil, takes((*API).setBudget)},
		{http.MethodGet, "/admin/v1/budgets", auth.ReadBudgets, http.StatusOK,
			"List budgets, the oldest first, with how their current windows stand.", with(paging, ofProject), gives((*API).listBudgets)},
		{http.MethodGet, "/admin/v1/budgets/{id}", auth.ReadBudgets, http.StatusOK,
			"One budget with its windows, the newest first.", []Param{paging[0], ofSubject}, gives((*API).oneBudget)},
		{http.MethodDelete, "/admin/v1/budgets/{id}", auth.WriteBudgets, http.StatusOK,
			"Delete a budget. What was booked stays in the books.", nil, gives((*API).deleteBudget)},
		{http.MethodPut, "/admin/v1/limits", auth.WriteBudgets, http.StatusOK,
			"Make a limit, or change the one of the same scope and measure.", nil, takes((*API).setLimit)},
		{http.MethodPost, "/admin/v1/limits", auth.WriteBudgets, http.StatusOK,
			"Make limits, or change those of the same scopes and measures: all or none.", nil, takes((*API).setLimits)},
		{http.MethodGet, "/admin/v1/limits", auth.ReadBudgets, http.StatusOK,
			"List limits, the oldest first.", with(paging, ofProject), gives((*API).listLimits)},
		{http.MethodDelete, "/admin/v1/limits/{id}", auth.WriteBudgets, http.StatusOK,
			"Delete a limit.", nil, gives((*API).deleteLimit)},
		{http.MethodPut, "/admin/v1/tiers", auth.WriteBudgets, http.StatusOK,
			"Make a tier, or change the one of the same name, whole.", nil, takes((*API).setTier)},
		{http.MethodGet, "/admin/v1/tiers", auth.ReadBudgets, http.StatusOK,
			"List tiers by name, with how many have each.", paging, gives((*API).listTiers)},
		{http.MethodGet, "/admin/v1/tiers/{id}/budgets", auth.ReadBudgets, http.StatusOK,
			"How the budgets of a tier, named in the path, stand for those who have it: the subject is a project's or key's id, or PROJECT/USER.", []Param{ofSubject, paging[0]}, gives((*API).tierBudgets)},
		{http.MethodDelete, "/admin/v1/tiers/{id}", auth.WriteBudgets, http.StatusOK,
			"Delete a tier, named in the path, that nobody has.", nil, gives((*API).deleteTier)},
		{http.MethodPut, "/admin/v1/assignments", auth.WriteBudgets, http.StatusOK,
			"Give a tier to a project, to a key, or to an end user of a project, instead of the one it had.", nil, takes((*API).assignTier)},
		{http.MethodGet, "/admin/v1/assignments", auth.ReadBudgets, http.StatusOK,
			"List who has which tier, by project.", with(paging, ofProject, ofTier), gives((*API).listAssignments)},
		{http.MethodDelete, "/admin/v1/assignments", auth.WriteBudgets, http.StatusOK,
			"Take the tier from whoever is named.", whose, gives((*API).takeTier)},
		{http.MethodGet, "/admin/v1/ledger", auth.ReadBudgets, http.StatusOK,
			"List entries of the books, the newest first.", with(with(paging, between...), ofProject, ofProvider, ofTry, ofKind, ofBudget, ofPart), gives((*API).listLedger)},
		{http.MethodGet, "/admin/v1/ledger/accounts", auth.ReadBudgets, http.StatusOK,
			"List the accounts of the books, with what their entries come to.", nil, gives((*API).listAccounts)},
		{http.MethodGet, "/admin/v1/ledger/unknown", auth.ReadBudgets, http.StatusOK,
			"List calls whose end is unknown, and leases that no replica renews, the oldest first, at most 1000 of each.", nil, gives((*API).listUnknown)},
		{http.MethodGet, "/admin/v1/ledger/check", auth.ReadBudgets, http.StatusOK,
			"Add up all entries and compare: with accounts, windows of budgets, leases, and the exchanges that are kept.", nil, slowly(gives((*API).checkLedger))},
		{http.MethodGet, "/admin/v1/ledger/close", auth.ReadBudgets, http.StatusOK,
			"What a month came to, by organisation, project, provider, target and kind of entry.", ofMonth, slowly(gives((*API).closeLedger))},
		{http.MethodPost, "/admin/v1/ledger/settle", auth.WriteBudgets, http.StatusOK,
			"Say what a call came to whose end is unknown, or what was spent from a lease that no replica renews.", nil, takes((*API).settleLedger)},
		{http.MethodPost, "/admin/v1/ledger/adjust", auth.WriteBudgets, http.StatusOK,
			"Correct the books: so much more was billed than is in them, or less.", nil, takes((*API).adjustLedger)},
		{http.MethodPost, "/admin/v1/reconcile", auth.WriteBudgets, http.StatusOK,
			"Set a provider's export beside the books, by day and target; settle from it what is unknown, and correct what is left, if that is asked for.", nil, withFile(slowly(takes((*API).reconcile)))},
		{http.MethodGet, "/admin/v1/audit", auth.ReadAudit, http.StatusOK,
			"List the entries of the audit chain, the newest first.", with(with(paging, between...), auditing...), gives((*API).listAudit)},
		{http.MethodGet, "/admin/v1/audit/head", auth.ReadAudit, http.StatusOK,
			"The end of the audit chain, and how far it is verified.", nil, gives((*API).auditState)},
		{http.MethodPost, "/admin/v1/audit/checkpoint", auth.ReadAudit, http.StatusCreated,
			"Verify what is new of the audit chain and sign its end now.", nil, mayTake((*API).checkpoint)},
		{http.MethodGet, "/admin/v1/audit/export", auth.ReadAudit, http.StatusOK,
			"Write entries of the audit chain, the oldest first, as signed lines of JSON; that it was done is an entry too.", with(between, auditing[:4]...), gives((*API).exportAudit)},
		{http.MethodGet, "/admin/v1/routes", auth.ReadRoutes, http.StatusOK,
			"List which targets answer for which model, in the order of the configuration, and how they are.", nil, gives((*API).routes)},
		{http.MethodPost, "/admin/v1/routes/disable", auth.WriteStops, http.StatusOK,
			"Take a target, or all of a provider, out: it gets no calls, everywhere within 5 s. The same again changes what was said before.", nil, takes((*API).disableTarget)},
		{http.MethodPost, "/admin/v1/routes/enable", auth.WriteStops, http.StatusOK,
			"Take a target or a provider back: it is no longer disabled, and its ejection ends at once.", nil, takes((*API).enableTarget)},
		{http.MethodGet, "/admin/v1/status", auth.ReadRoutes, http.StatusOK,
			"How the process is.", nil, gives((*API).status)},
		{http.MethodGet, "/admin/v1/replicas", auth.ReadRoutes, http.StatusOK,
			"List the Penstocks on the same store, with version and configuration of each.", nil, gives((*API).replicas)},
		{http.MethodPost, "/admin/v1/backup", auth.TakeBackup, http.StatusOK,
			"Take a backup of the store, as it is at this moment: one encrypted file.", nil, mayTake((*API).takeBackup)},
		{http.MethodGet, "/admin/v1/alerts", auth.ReadRoutes, http.StatusOK,
			"List the alerts that are open, the most severe first.", nil, gives((*API).listAlerts)},
		{http.MethodPost, "/admin/v1/alerts/test", auth.TestAlerts, http.StatusOK,
			"Send a test to the receiver of alerts, and say what became of it.", nil, mayTake((*API).testAlert)},
		{http.MethodPost, "/admin/v1/stops", auth.WriteStops, http.StatusCreated,
			"Stop a model, a project or everything; it is felt everywhere within 5 s. The same again changes the stop that there is.", nil, takes((*API).setStop)},
		{http.MethodGet, "/admin/v1/stops", auth.ReadRoutes, http.StatusOK,
			"List what is stopped, the oldest first.", nil, gives((*API).listStops)},
		{http.MethodPost, "/admin/v1/stops/{id}/lift", auth.WriteStops, http.StatusOK,
			"Lift a stop.", nil, mayTake((*API).liftStop)},
		{http.MethodPost, "/admin/v1/holds", auth.WriteHolds, http.StatusCreated,
			"Hold a project or an organisation: no retention deletes anything of it until that is lifted.", nil, takes((*API).makeHold)},
		{http.MethodGet, "/admin/v1/holds", auth.ReadTenants, http.StatusOK,
			"List what is on hold, the oldest first.", nil, gives((*API).listHolds)},
		{http.MethodPost, "/admin/v1/holds/{id}/lift", auth.WriteHolds, http.StatusOK,
			"Lift a hold.", nil, takes((*API).liftHold)},
		{http.MethodGet, "/admin/v1/keyring", auth.ReadKeyring, http.StatusOK,
			"The key ring: its data keys, what wraps it, and whether its file is as it should be; nothing secret.", nil, gives((*API).keyring)},
		{http.MethodPost, "/admin/v1/keyring/rotate", auth.RotateKeyring, http.StatusCreated,
			"Add a data key, which seals from now or a later instant on; what older keys sealed stays readable.", nil, mayTake((*API).rotateKeyring)},
		{http.MethodGet, "/admin/v1/support", auth.ReadSupport, http.StatusOK,
			"The inside of the process, for a support bundle: stacks, memory, store, the last log lines; that it was read is an entry of the audit chain.", nil, gives((*API).support)},
		{http.MethodGet, "/metrics", auth.ReadMetrics, http.StatusOK,
			"Metrics for Prometheus; open to everybody with admin.open_metrics: true.", nil, gives((*API).metrics)},
		{http.MethodGet, "/healthz", "", http.StatusOK,
			"Whether the process lives.", nil, gives((*API).healthz)},
		{http.MethodGet, "/readyz", "", http.StatusOK,
			"Whether traffic should be sent to the data plane; 503 if not.", nil, gives((*API).readyz)},
	}
}

var (
	ofSubject = Param{"subject", "only windows of this project, key or end user, of a budget for each"}
	ofTier    = Param{"tier", "only those that have this tier"}
	whose     = []Param{
		{"project", "id, or name if only one organisation has the name"},
		{"key", "the key, by id, or by name within the project"},
		{"user", "the end user, as callers name it; * is all that have none of their own"},
	}
)

var (
	grouping        = Param{"group_by", "what to sum by, with commas between: org, project, key, user, model, target, provider, tag, label:NAME (of projects), and day or hour"}
	latencyGrouping = Param{"group_by", "what to tell apart, with commas between: project, model, target, and day or hour"}
	inZone          = Param{"zone", "where days of group_by begin: a name such as Europe/Berlin; UTC if it is left out"}
	choosing        = with([]Param{{"org", "only of this organisation"}}, selecting[:6]...)
	onlyMissing     = Param{"missing", "true: only targets without a price"}
)

func with(params []Param, more ...Param) []Param {
	return append(params[:len(params):len(params)], more...)
}

// find looks an endpoint up by the segments of the path as they were sent, so that there is one way to write each route;
// only an id is decoded, because a project's name may hold a slash. With no endpoint, allowed are the methods that the
// path has.
func (a *API) find(method, path string) (found *Endpoint, id string, allowed []string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range a.endpoints {
		e := &a.endpoints[i]
		part, ok := match(e.Path, path)
		if !ok {
			continue
		}
		if e.Method == method {
			return e, part, nil
		}
		allowed = append(allowed, e.Method)
	}
	return nil, "", allowed
}

// match compares a path with a pattern and gives what stands for {id}.
func match(pattern, path string) (id string, ok bool) {
	head, tail, hasID := strings.Cut(pattern, "{id}")
	if !hasID {
		return "", path == pattern
	}
	id, ok = strings.CutPrefix(path, head)
	if !ok {
		return "", false
	}
	if id, ok = strings.CutSuffix(id, tail); !ok || id == "" || strings.Contains(id, "/") {
		return "", false
	}
	id, err := url.PathUnescape(id)
	return id, err == nil
}
