package retention

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/fault"
)

// A Hold keeps everything of a project, or of an organisation, from being deleted by a retention: records and bodies that
// there are, and those that come while it holds. There may be several of one: it is held until the last is lifted.
type Hold struct {
	ID      string
	Org     string // name; "" if it is of a project
	Project string // id; "" if it is of an organisation
	Reason  string
	ByKey   string // id of the key of whoever made it
	ByName  string
	Since   time.Time
}

// Of reports whether the hold is of a project.
func (h *Hold) Of(project, org string) bool {
	return h.Project != "" && h.Project == project || h.Org != "" && h.Org == org
}

// HoldStore is what holds need to have kept. Each method that changes something is one transaction, with an entry of the
// audit chain.
type HoldStore interface {
	// MakeHold makes a hold. When it returns, nothing that it is about is being deleted any more. It is a fault
	// InvalidRequest if there are most already, and NotThere if there is no such organisation.
	MakeHold(ctx context.Context, h Hold, most int) error
	// LiftHold ends a hold, which it returns. It is a fault NotThere if there is none.
	LiftHold(ctx context.Context, id, reason string) (Hold, error)
	// Holds lists all, the oldest first.
	Holds(ctx context.Context) ([]Hold, error)
}

// Bounds of what may be said.
const (
	mostHolds = 1000
	maxReason = 200 // characters
)

// Holds makes and lifts holds.
type Holds struct {
	Store HoldStore
	Now   func() time.Time // civil time; nil is time.Now
}

// Make makes a hold of either a project or an organisation, for a reason.
func (h *Holds) Make(ctx context.Context, hold Hold) (Hold, error) {
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	var err error
	if hold.Reason, err = clean(hold.Reason); err != nil {
		return Hold{}, err
	}
	if (hold.Project == "") == (hold.Org == "") {
		f := fault.New(fault.InvalidRequest, "Say what to hold: a project, or an organisation.")
		f.Hint = "Nothing was changed."
		return Hold{}, f
	}
	hold.Since = now().UTC().Truncate(time.Microsecond)
	hold.ID = "hold_" + ulid.MustNew(ulid.Timestamp(hold.Since), rand.Reader).String()
	if err := h.Store.MakeHold(ctx, hold, mostHolds); err != nil {
		return Hold{}, err
	}
	return hold, nil
}

// Lift ends a hold, for a reason. What was due while it held is deleted from the next minute on.
func (h *Holds) Lift(ctx context.Context, id, reason string) (Hold, error) {
	reason, err := clean(reason)
	if err != nil {
		return Hold{}, err
	}
	return h.Store.LiftHold(ctx, id, reason)
}

// clean is a reason as it is kept.
func clean(s string) (string, error) {
	reason := strings.Join(strings.Fields(s), " ")
	unseen := !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) })
	if reason != "" && !unseen && utf8.RuneCountInString(reason) <= maxReason {
		return reason, nil
	}
	f := fault.New(fault.InvalidRequest, "reason: write one line of at most %d characters that can be seen.", maxReason)
	f.Param, f.Hint = "reason", "Say why, such as: case 4711. It stays in the audit chain."
	return "", f
}
