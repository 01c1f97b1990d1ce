package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// A Request is an export, and what to do about it, as people say it.
type Request struct {
	File       []byte
	Format     string // what the file looks like if it is empty
	Provider   string // whose export it is; if it is empty, the only one of the format's vendor
	Credential int
	Zone       string // of a plain file
	Threshold  string // DefaultThreshold if it is empty
	Names      map[string]string
	Ignore     []string
	Settle     bool // settle calls whose end is unknown
	Adjust     bool // and correct the books by what is left
	Unfinished bool
	// Plan is that of a report which somebody has seen. If it is set and what is to be written is another by now, nothing is.
	Plan string
}

// An Outcome is a report and what was done about it. After writing, it shows the books as they are then.
type Outcome struct {
	*Report

	Zone      *time.Location
	Threshold string
	Done      *Done // nil if nothing was to be written
	Behind    bool  // calls wait in the journal for the store, and are missing
	Changed   bool  // it is not what Plan was of, so nothing was written
}

// A Desk takes exports for whoever asks, one at a time: two at once would both find the same to be left.
type Desk struct {
	Sources

	// Vendors gives the providers that are configured at the moment, with the vendor that each is, "" if that is not known.
	Vendors func() map[string]string
	// ZoneOf finds a time zone by its name.
	ZoneOf func(name string) (*time.Location, error)
	// Sync waits until all that was answered so far is in the books.
	Sync   func(context.Context) error
	Alerts *alert.Board
	Now    func() time.Time
	busy   chan struct{}
}

// NewDesk opens a desk.
func NewDesk(d Desk) *Desk {
	d.busy = make(chan struct{}, 1)
	return &d
}

// Run compares, and writes what the request says. What is wrong with a request is a fault that says where, and how to mend it.
func (d *Desk) Run(ctx context.Context, in *Request) (*Outcome, error) {
	e, o, err := d.options(in)
	if err != nil {
		return nil, err
	}
	write := in.Settle || in.Adjust
	out := &Outcome{Zone: o.Zone, Threshold: in.Threshold}
	if out.Behind, err = d.catchUp(ctx, write); err != nil {
		return nil, err
	}
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		f := fault.Wrap(fault.Overloaded, ctx.Err(), "Other exports are being compared, one at a time.")
		f.Hint = "Try again in a moment."
		return nil, f
	}
	if out.Report, err = Compare(ctx, d.Sources, e, o); err != nil {
		return nil, err
	}
	if out.Changed = in.Plan != "" && in.Plan != out.Plan(); write && !out.Changed {
		done, err := Settle(ctx, d.Ledger, out.Report, o, in.Adjust)
		if err != nil {
			return nil, err
		}
		out.Done = &done
		if out.Report, err = Compare(ctx, d.Sources, e, o); err != nil {
			return nil, err
		}
	}
	d.tell(out.Report)
	return out, nil
}

// Plan stands for what would be written: two reports have the same one if that is the same.
func (r *Report) Plan() string {
	h := sha256.New()
	fmt.Fprintln(h, r.Export.Hash)
	for i := range r.Lines {
		l := &r.Lines[i]
		for _, s := range l.Steps {
			fmt.Fprintln(h, l.Date, l.Provider, s.Try, int64(s.Amount), s.Tokens)
		}
		for _, s := range l.Shares {
			fmt.Fprintln(h, l.Date, l.Provider, s.Org, s.Project, s.Credential, strconv.Quote(s.Model), int64(s.Amount))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// catchUp waits for the records of all that was answered. What waits for the store may be what the export has more, so that nothing is
// written without it; for looking, what the store has will do.
func (d *Desk) catchUp(ctx context.Context, write bool) (behind bool, err error) {
	long := time.Second
	if write {
		long = 2 * time.Second
	}
	waiting, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	switch err = d.Sync(waiting); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && write:
		f := fault.Wrap(fault.RecordsBehind, err, "Records cannot be read at the moment: they wait in the journal for the store.")
		f.RetryAfter = 2 * time.Second
		return true, f
	}
	return err != nil, nil
}

func wrong(param, format string, args ...any) *fault.Error {
	f := fault.New(fault.InvalidRequest, format, args...)
	f.Param = param
	return f
}

// quoted shows what somebody sent.
func quoted(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}

// options reads what is asked for.
func (d *Desk) options(in *Request) (e *Export, o Options, err error) {
	o = Options{Credential: in.Credential, Zone: time.UTC, Names: in.Names, Ignore: in.Ignore, Unfinished: in.Unfinished, Now: d.Now()}
	if in.Threshold == "" {
		in.Threshold = "1"
	}
	if o.Threshold, err = ParseThreshold(in.Threshold); err != nil {
		return nil, o, wrong("threshold", "threshold: %v.", err)
	}
	if in.Format != "" && !slices.Contains(Formats(), Format(in.Format)) {
		return nil, o, wrong("format", "format is %s; send openai, anthropic or plain, or leave it out.", quoted(in.Format))
	}
	if e, err = Read(in.File, Format(in.Format)); err != nil {
		f := wrong("file", "The export cannot be read: %v.", err)
		f.Hint = "Nothing was changed. docs/reconcile.md says which exports are known."
		return nil, o, f
	}
	if in.Zone != "" {
		if o.Zone, err = d.ZoneOf(in.Zone); err != nil {
			return nil, o, wrong("zone", "%s is not a zone that is known here; send a name such as Europe/Berlin.", quoted(in.Zone))
		}
		if e.Format != Plain && o.Zone != time.UTC {
			return nil, o, wrong("zone", "Days of this provider's exports are in UTC; leave zone out.")
		}
	}
	if in.Credential < 0 {
		return nil, o, wrong("credential", "credential is %d; they are counted from 1.", in.Credential)
	}
	for name, target := range in.Names {
		if _, ok := llm.ParseTarget(target); !ok {
			return nil, o, wrong("names", "%s stands for %s; send PROVIDER/MODEL.", quoted(name), quoted(target))
		}
	}
	o.Provider, err = d.exportOf(e, in.Provider)
	return e, o, err
}

// exportOf finds out which configured provider an export is of.
func (d *Desk) exportOf(e *Export, named string) (string, error) {
	if e.Format == Plain {
		if named != "" {
			return "", wrong("provider", "Each line of a plain file names its provider; leave provider out.")
		}
		return "", nil
	}
	vendors := d.Vendors()
	if named != "" {
		if _, ok := vendors[named]; !ok {
			return "", wrong("provider", "There is no provider %s in the configuration.", quoted(named))
		}
		return named, nil
	}
	var all []string
	for name, vendor := range vendors {
		if vendor == string(e.Format) {
			all = append(all, name)
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "", wrong("provider", "Say whose export it is: no provider in the configuration is known to be %s.", e.Format)
	}
	return "", wrong("provider", "Say whose export it is: %s.", strings.Join(all, " or "))
}

// tell raises an alert for each provider whose books drift, and clears those of the others that were compared.
func (d *Desk) tell(r *Report) {
	worst, seen := map[string]*Line{}, map[string]int{}
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.State == Unended { // it says nothing yet
			continue
		}
		if seen[l.Provider] += 0; l.State == Drifts {
			seen[l.Provider]++
			if w := worst[l.Provider]; w == nil || max(l.Left, -l.Left) > max(w.Left, -w.Left) {
				worst[l.Provider] = l
			}
		}
	}
	for provider, drifts := range seen {
		text := ""
		if w := worst[provider]; w != nil {
			text = fmt.Sprintf("%d days and targets drift from the provider's export, the most on %s: $%s billed, $%s in the books.", drifts, w.Date, w.Billed, w.Books)
			if !w.Money {
				text = fmt.Sprintf("The tokens of %d days and targets drift from the provider's export, as on %s.", drifts, w.Date)
			}
		}
		d.Alerts.Set(alert.BooksDrift, provider, drifts > 0, text)
	}
}
