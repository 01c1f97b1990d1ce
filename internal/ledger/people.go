package ledger

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// MaxKey is how many bytes the key of a correction has at most.
const MaxKey = 64

// NewKey is a key for one correction.
func NewKey() string { return "adj_" + rand.Text() }

// MaxReason is how many characters a reason has at most.
const MaxReason = 200

// CleanReason is a reason as it is kept: one line that can be seen.
func CleanReason(s string) (string, error) {
	reason := strings.Join(strings.Fields(s), " ")
	unseen := !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) })
	if reason != "" && !unseen && utf8.RuneCountInString(reason) <= MaxReason {
		return reason, nil
	}
	f := mistake("reason", "reason: write one line of at most %d characters that can be seen.", MaxReason)
	f.Hint = "Say why, such as: the provider's bill of November. It stays in the audit chain."
	return "", f
}

func mistake(param, format string, args ...any) *fault.Error {
	f := fault.New(fault.InvalidRequest, format, args...)
	f.Param = param
	return f
}

// A Told is what somebody says that a call or a lease came to of which nobody knew: an amount, tokens, or void.
type Told struct {
	ID     string // of the try or the lease
	Amount string // dollars, as decimal text
	Tokens *int64 // for budgets in tokens; a call counts for these as reserved if it is nil
	Void   bool   // it came to nothing
	Reason string
}

// SettleTold settles the try or lease that is told of.
func SettleTold(ctx context.Context, s Store, in Told) (Entry, error) {
	reason, err := CleanReason(in.Reason)
	if err != nil {
		return Entry{}, err
	}
	given := in.Amount != "" || in.Tokens != nil
	switch {
	case in.ID == "":
		return Entry{}, mistake("id", "Say which try or lease it is: id.")
	case given == in.Void:
		f := mistake("amount", "Say what it came to: an amount or tokens, or void.")
		f.Hint = "Nothing was changed."
		return Entry{}, f
	case in.Tokens != nil && *in.Tokens < 0:
		return Entry{}, mistake("tokens", "tokens: there are none below 0.")
	}
	var amount llm.Money
	if in.Amount != "" {
		if amount, err = llm.ParseMoney(in.Amount); err != nil {
			return Entry{}, mistake("amount", "amount: %v", err)
		}
	}
	if in.Amount == "" && !in.Void { // what a call cost would not be known
		return settleLease(ctx, s, &in, amount, reason)
	}
	r := Resolution{Try: in.ID, Void: in.Void, Amount: amount, Tokens: -1, Reason: reason}
	if in.Tokens != nil {
		r.Tokens = *in.Tokens
	}
	e, err := s.SettleTry(ctx, r)
	if err != nil && fault.From(err).Code == fault.NotThere {
		return settleLease(ctx, s, &in, amount, reason)
	}
	return e, err
}

func settleLease(ctx context.Context, s Store, in *Told, amount llm.Money, reason string) (Entry, error) {
	if in.Amount != "" && in.Tokens != nil {
		return Entry{}, mistake("tokens", "A lease is of one budget, in dollars or in tokens: send amount or tokens.")
	}
	l := LeaseSettlement{Lease: in.ID, Amount: int64(amount), Reason: reason, Void: in.Void}
	if in.Tokens != nil {
		l.Amount, l.Tokens = *in.Tokens, true
	}
	return s.SettleLease(ctx, l)
}

// ReadDifference reads by how much more was billed, in dollars as decimal text; with a - before it, less.
func ReadDifference(text string) (llm.Money, error) {
	digits, less := strings.CutPrefix(text, "-")
	amount, err := llm.ParseMoney(digits)
	if err != nil || amount == 0 {
		return 0, mistake("amount", "amount is %s; write dollars as decimal text, such as 0.25 or -0.25.", quote(text))
	}
	if less {
		amount = -amount
	}
	return amount, nil
}

// CheckAdjustment says what a correction by hand lacks, and cleans its reason. That there is such a project is for the caller to see
// to; that there is such a provider, for [CheckProvider].
func CheckAdjustment(a *Adjustment) (err error) {
	switch {
	case a.Project == "":
		return mistake("project", "Say whose money it is: project.")
	case a.Provider == "":
		return mistake("provider", "Say whose bill it is: provider.")
	case a.Credential < 0:
		return mistake("credential", "credential is %d; they are counted from 1.", a.Credential)
	case len(a.Key) > MaxKey || strings.ContainsFunc(a.Key, func(r rune) bool { return r <= ' ' || r > '~' }):
		f := mistake("key", "key: write at most %d letters, digits and signs of ASCII, without spaces.", MaxKey)
		f.Hint = "Nothing was booked. Make a key once for each correction, and send it again with that."
		return f
	}
	a.Reason, err = CleanReason(a.Reason)
	return err
}

// Providers are all that a correction may be for, sorted: those that are configured, and those that have an account.
func Providers(ctx context.Context, s Store, configured []string) ([]string, error) {
	accounts, err := s.LedgerAccounts(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(configured)
	for i := range accounts {
		if p := accounts[i].Provider; p != "" {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// CheckProvider refuses a correction for a provider that is none of [Providers]: the account would be a slip of the pen's.
func CheckProvider(ctx context.Context, s Store, name string, configured []string) error {
	known, err := Providers(ctx, s, configured)
	if err != nil || slices.Contains(known, name) {
		return err
	}
	f := mistake("provider", "There is no provider %s, in the configuration or in the books: there %s.", quote(name), listed(known))
	f.Hint = "Nothing was booked. Name the provider as it is in the configuration, or in the books."
	return f
}

// listed writes names behind "there": "are a, b and c".
func listed(names []string) string {
	const most = 20
	switch n := len(names); {
	case n == 0:
		return "is none"
	case n == 1:
		return "is " + names[0]
	case n > most:
		return "are " + strings.Join(names[:most], ", ") + " and " + strconv.Itoa(n-most) + " more"
	default:
		return "are " + strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// quote shows what somebody sent.
func quote(s string) string {
	if utf8.RuneCountInString(s) > 64 {
		s = string([]rune(s)[:64]) + "…"
	}
	return strconv.Quote(s)
}

// CountedKind is the kind of a line of a month that has tokens, and no money.
const CountedKind = "usage"

// countedHead are the columns of tokens.
var countedHead = append([]string{"requests", "input", "output", "cached_input", "cache_write", "reasoning"}, llm.PartNames[:]...)

// CloseHead names the columns of a month as CSV.
func CloseHead() []string {
	return append([]string{"month", "organisation", "project", "project_id", "provider", "credential", "target", "kind", "entries", "amount_usd", "amount_nano"},
		countedHead...)
}

// CloseRow is what records have in a month as a line of the CSV.
func (c *Counted) CloseRow(month, projectName string) []string {
	provider, _, _ := strings.Cut(c.Target, "/")
	u := c.Usage
	row := []string{month, c.Org, projectName, c.Project, provider, "", c.Target, CountedKind, "0", "0", "0"}
	for _, n := range []int64{c.Requests, u.Input, u.Output, u.CachedInput, u.CacheWrite, u.Reasoning} {
		row = append(row, strconv.FormatInt(n, 10))
	}
	for _, n := range u.Parts.All() {
		row = append(row, strconv.FormatInt(*n, 10))
	}
	return row
}

// CloseRow is a sum of a month as a line of the CSV. The amounts of all lines but the pending ones add up to the month's total.
func (t *Total) CloseRow(month, projectName string) []string {
	credential := ""
	if t.Credential > 0 {
		credential = strconv.Itoa(t.Credential)
	}
	row := []string{
		month, t.Org, projectName, t.Project, t.Provider, credential, t.Target, t.Kind.String(), strconv.FormatInt(t.Entries, 10), t.Amount.String(),
		strconv.FormatInt(int64(t.Amount), 10),
	}
	return append(row, make([]string, len(countedHead))...)
}
