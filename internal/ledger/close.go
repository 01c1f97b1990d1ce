package ledger

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A Closing is what a span of time came to, such as a month.
type Closing struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // not part of it
	Rows []Total   `json:"rows"`
	// Counted is what the records of the time have. It is for whoever has those to add: the books have only money.
	Counted []Counted `json:"-"`
	Total   llm.Money `json:"total_nano"`   // of all rows but those that are pending
	Pending llm.Money `json:"pending_nano"` // the most that unknown tries may add
}

// A Counted is what records have of one organisation, project and target: the tokens of the exchanges that it answered, in all of
// their tries, and those to which no price belongs as well.
type Counted struct {
	Org, Project, Target string
	Requests             int64
	Usage                llm.Usage
}

// Count adds what records have of a group, if it is anything.
func (c *Closing) Count(one Counted) {
	if u := one.Usage; u.Input != 0 || u.Output != 0 || u.Parts != (llm.Parts{}) {
		c.Counted = append(c.Counted, one)
	}
}

// Close sums a span of time. What comes later and belongs to it, such as what a journal tells that was away, changes it.
func Close(ctx context.Context, s Store, from, to time.Time) (*Closing, error) {
	rows, err := s.LedgerTotals(ctx, from, to)
	if err != nil {
		return nil, err
	}
	c := &Closing{From: from, To: to, Rows: rows}
	if rows == nil {
		c.Rows = []Total{}
	}
	for _, r := range rows {
		if r.Kind == Pending {
			c.Pending = c.Pending.Plus(r.Amount)
			continue
		}
		c.Total = c.Total.Plus(r.Amount)
	}
	return c, nil
}
