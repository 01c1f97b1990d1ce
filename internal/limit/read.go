package limit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/window"
)

// A TermsText is what a budget is to allow, as people write it. What is empty is as if it had not been said.
type TermsText struct {
	Amount string // dollars
	Tokens string // instead of Amount
	Per    string // may be left out of a term
	Zone   string
	From   string // RFC 3339, or a day, which is its start in the zone
	To     string
	Mode   string // enforce if it is empty
	Alerts []int
	Kept   []Kept
}

// Read gives what is meant, and all that is wrong with it. Paths of problems begin with at.
func (in *TermsText) Read(at string) (t Terms, problems []fault.Problem) {
	var m mistakes
	t = Terms{Unit: USD, Per: window.Per(in.Per), Zone: in.Zone, Mode: Mode(cmp.Or(in.Mode, string(Enforce))), Alerts: in.Alerts, Kept: in.Kept}
	if in.Per == "" && (in.From != "" || in.To != "") {
		t.Per = window.Term
	}
	var wrong string
	switch {
	case in.Amount != "" && in.Tokens != "":
		m.add(at+"tokens", "is there beside amount", "a budget is in dollars or in tokens; make two")
	case in.Tokens != "":
		t.Unit = TokenCount
		t.Amount, wrong = ReadAmount(TokenCount, in.Tokens)
		m.add(at+"tokens", wrong, "")
	case in.Amount == "":
		m.add(at+"amount", "is missing", "write dollars as decimal text, such as 1.00, or a number of tokens as tokens")
	default:
		t.Amount, wrong = ReadAmount(USD, in.Amount)
		m.add(at+"amount", wrong, "")
	}
	zone, err := Zone(in.Zone)
	if err != nil {
		zone = time.UTC // that it is wrong is told below
	}
	const hint = "write 2026-11-24 or 2026-11-24T09:00:00Z"
	t.From, wrong = readStart(in.From, zone)
	m.add(at+"from", wrong, hint)
	t.To, wrong = readStart(in.To, zone)
	m.add(at+"to", wrong, hint)
	var more mistakes
	more.terms(at, &t)
	return t, append(m, Untold(m, more)...)
}

// Untold are the mistakes at places of which none is told yet: what cannot be read is told of once.
func Untold(told, more []fault.Problem) []fault.Problem {
	return slices.DeleteFunc(more, func(p fault.Problem) bool {
		return slices.ContainsFunc(told, func(o fault.Problem) bool {
			return o.Path == p.Path || strings.HasSuffix(p.Path, "per") && (strings.HasSuffix(o.Path, "from") || strings.HasSuffix(o.Path, "to"))
		})
	})
}

// readStart reads RFC 3339, or a day, which is its start in the zone. Instants are kept in microseconds.
func readStart(text string, zone *time.Location) (t time.Time, problem string) {
	if text == "" {
		return t, ""
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Truncate(time.Microsecond), ""
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.UTC); err == nil {
		y, m, d := day.Date()
		noon := time.Date(y, m, d, 12, 0, 0, 0, zone) // some days have no midnight
		return window.Calendar{Per: window.Day, Zone: zone}.At(noon).Start.UTC(), ""
	}
	return t, quote(text) + " is not an instant"
}
