package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/usage"
)

// A budgetView answers: how does this budget stand, how did it get there, and how long will it last?
type budgetView struct {
	budgetRow
	Zone, Alerts string
	Kept         []limit.Kept
	From, To     time.Time
	Set          time.Time
	Version      int64
	Each         bool
	Subject      string // whose windows are shown, of a budget for each
	Whose        string // the same for the field
	WhoseName    string // and for people
	Course       *plot  // of the newest window
	May          bool
	Said         string
	Form         budgetForm
	Problem      *problem
}

func (c *Console) budget(v *visit) error { return c.budgetPage(v, v.part, http.StatusOK, nil) }

// budgetPage shows a budget; fill puts in what was filled in and refused.
func (c *Console) budgetPage(v *visit, id string, status int, fill func(*budgetView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(defined.Budgets, func(b limit.Budget) bool { return b.ID == id })
	if i < 0 {
		return fault.New(fault.NotThere, "There is no such budget here.")
	}
	b := &defined.Budgets[i]
	q := v.r.URL.Query()
	subject := strings.TrimSpace(q.Get("subject"))
	if b.Project == limit.Each { // elsewhere it is what callers say, or an organisation
		subject = subjectOf(dir, subject)
	}
	windows, err := limit.Windows(ctx, c.o.Limits, b, limit.WindowQuery{Subject: subject, Limit: windowsKept}, v.now, windowsKept)
	if err != nil {
		return err
	}
	d := &budgetView{
		budgetRow: budgetRow{ID: b.ID, For: scopeWords(dir, b.Scope), Amount: termsWords(&b.Terms), Mode: string(b.Mode)},
		Zone:      b.Zone, Kept: b.Kept, From: b.From, To: b.To, Set: b.Set, Version: b.Version, Each: b.Each(), Subject: subject,
		Whose: c.subjectField(dir, subject), WhoseName: c.subjectName(subject), May: v.may(auth.WriteBudgets), Form: budgetFormOf(b),
	}
	if q.Get("said") == "set" {
		d.Said = "The budget is set. It counts for calls from now on, on every replica within a second."
		if len(windows) > 0 && windows[0].Settled+windows[0].Unknown >= windows[0].Limit && b.Mode == limit.Enforce {
			d.Said += " It is used up: new calls are refused until " + windows[0].End.In(v.zone).Format("Jan 2 15:04 MST") + ". Those that run end."
		}
	}
	d.Alerts = alertsText(b.Alerts)
	if fill != nil {
		fill(d)
	}
	for j := range windows {
		row := windowRowOf(b, &windows[j], v.now)
		row.Whose = c.subjectName(row.Subject)
		d.Windows = append(d.Windows, row)
	}
	if len(windows) > 0 && (!d.Each || d.Subject != "") {
		if d.Course, err = c.course(ctx, v, dir, b, &windows[0]); err != nil {
			return err
		}
	}
	f := c.frame(v, "budget", "Budget: "+d.For, d)
	f.Command = "penstock budget list"
	return c.send(v, status, "frame.html", f)
}

func alertsText(alerts []int) string {
	words := make([]string, len(alerts))
	for i, share := range alerts {
		words[i] = strconv.Itoa(share)
	}
	return strings.Join(words, ", ")
}

// budgetFormOf fills the form in with a budget.
func budgetFormOf(b *limit.Budget) budgetForm {
	f := budgetForm{
		Org: b.Org, Project: b.Project, Key: b.Key, User: b.User, Model: b.Model, Per: string(b.Per), Zone: b.Zone, Mode: string(b.Mode), Alerts: alertsText(b.Alerts),
		Version: strconv.FormatInt(b.Version, 10), Unit: string(b.Unit),
	}
	if b.Unit == limit.USD {
		f.Amount = limit.FormatAmount(b.Unit, b.Amount)
	} else {
		f.Tokens = limit.FormatAmount(b.Unit, b.Amount)
	}
	if !b.From.IsZero() {
		f.From, f.To = b.From.UTC().Format(time.RFC3339Nano), b.To.UTC().Format(time.RFC3339Nano)
	}
	lines := make([]string, len(b.Kept))
	for i, k := range b.Kept {
		lines[i] = fmt.Sprintf("%s=%d", k.Tag, k.Share)
	}
	f.Kept = strings.Join(lines, "\n")
	return f
}

// A point of a course is how much was used at an instant. At a corner nothing had changed since the point before.
type coursePoint struct {
	at     time.Time
	used   int64
	corner bool
}

// course draws what was used of a window so far, how that goes on if it goes on so, and the limit.
func (c *Console) course(ctx context.Context, v *visit, dir *auth.Directory, b *limit.Budget, w *limit.Standing) (*plot, error) {
	now := v.now
	if now.After(w.End) {
		now = w.End
	}
	if !now.After(w.Start) {
		return nil, nil
	}
	points, err := c.courseOf(ctx, dir, b, w, now)
	if err != nil {
		return nil, err
	}
	write, used := writer(b.Unit), w.Settled+w.Unknown
	label := func(t time.Time) string { return t.In(v.zone).Format("Mon Jan 2 15:04") }
	elapsed, whole := now.Sub(w.Start), w.End.Sub(w.Start)
	atEnd := float64(used) / float64(elapsed) * float64(whole)
	most := max(float64(w.Limit), float64(used), 1)
	if now.Before(w.End) {
		most = max(most, min(atEnd, 2*most)) // a steep forecast leaves the plot, and does not flatten the rest
	}
	p := &plot{
		Caption: "Used in " + b.Calendar().At(w.Start).Label + ": " + write(used) + " of " + write(w.Limit), Most: write(int64(most)), From: label(w.Start), To: label(w.End), Tall: true, Partial: now.Before(w.End),
		Series: []plotSeries{{"used", "s1"}, {"if it goes on so", "s2"}, {"limit", "rest"}},
	}
	if w.Limit == 0 && used == 0 {
		p.Most = write(0)
	}
	place := func(t time.Time, n float64) string {
		return strconv.FormatFloat(float64(t.Sub(w.Start))/float64(whole)*1000, 'f', 1, 64) + "," + strconv.FormatFloat(100-n/most*100, 'f', 1, 64)
	}
	line := []string{place(w.Start, 0)}
	for _, at := range points {
		if line = append(line, place(at.at, float64(at.used))); at.corner {
			continue
		}
		p.Rows = append(p.Rows, plotRow{Step: label(at.at), Cells: []string{write(at.used), "–", write(w.Limit)}})
	}
	p.Lines = []plotLine{
		{"rest", []string{place(w.Start, float64(w.Limit)) + " " + place(w.End, float64(w.Limit))}}, {"s1", []string{strings.Join(line, " ")}},
	}
	if now.Before(w.End) && used > 0 {
		end, height := w.End, atEnd
		if atEnd > most { // where the line leaves the plot
			end, height = now.Add(time.Duration((most-float64(used))/float64(used)*float64(elapsed))), most
		}
		p.Lines = append(p.Lines, plotLine{"s2", []string{place(now, float64(used)) + " " + place(end, height)}})
		p.Rows = append(p.Rows, plotRow{Step: label(w.End), Cells: []string{"–", write(int64(min(atEnd, limit.MaxAmount))), write(w.Limit)}})
	}
	return p, nil
}

// callsOf chooses the records of calls that count for a budget, of one for each those of a subject. ok is false where records do not
// tell them.
func callsOf(dir *auth.Directory, b *limit.Budget, subject string) (q usage.Query, ok bool) {
	q = usage.Query{Org: b.Org, Project: b.Project, Key: b.Key, User: b.User}
	if b.Each() {
		if subject == "" {
			return q, false
		}
		users := b.User == limit.Each && b.Project != limit.Each && b.Key != limit.Each
		whose, user, _ := strings.Cut(subject, "/")
		switch { // as they are put together where budgets are held
		case users && b.Org+b.Project+b.Key != "":
			q.User = subject
		case users:
			q.Org, q.User = whose, user
		case strings.HasPrefix(whose, "key_"):
			q.Project, q.Key, q.User = strings.TrimPrefix(b.Project, limit.Each), whose, cmp.Or(user, strings.TrimPrefix(b.User, limit.Each))
		default:
			q.Project, q.User = whose, cmp.Or(user, strings.TrimPrefix(b.User, limit.Each))
		}
	}
	last, _ := dir.Last(q.Key)
	return q, b.Model == "" && (q.Key == "" || last.ID == q.Key) // a key that was rotated is several in the records
}

// courseOf is how much was used when, up to now. The steps are those of the records of the calls that fit; their sum is that of
// the books, which know nothing of what was before the budget. Where records do not tell which calls fit, there is only the end.
func (c *Console) courseOf(ctx context.Context, dir *auth.Directory, b *limit.Budget, w *limit.Standing, now time.Time) ([]coursePoint, error) {
	end := coursePoint{now, w.Settled + w.Unknown, false}
	q, ok := callsOf(dir, b, w.Subject)
	if !ok || w.End.Sub(w.Start) <= time.Hour {
		return []coursePoint{end}, nil
	}
	step, form, zone := "hour", time.RFC3339, b.Calendar().Zone
	next := func(t time.Time) time.Time { return t.Add(time.Hour) }
	if w.End.Sub(w.Start) > 4*24*time.Hour {
		if step, form = "day", time.DateOnly; q.User != "" {
			zone = time.UTC // of users there are sums of such days only
		}
		next = func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	}
	q.From, q.To, q.By, q.Zone = w.Start, now, []string{step}, zone
	sums, err := c.o.Records.Sums(ctx, q)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(sums, func(x, y usage.Sum) int { return strings.Compare(x.Group[step], y.Group[step]) })
	points, total := []coursePoint{}, int64(0)
	for _, s := range sums {
		at, err := time.ParseInLocation(form, s.Group[step], zone)
		if err != nil {
			continue
		}
		n := int64(s.CostNano)
		if b.Unit == limit.TokenCount {
			n = s.Usage.Input + s.Usage.Output
		}
		if at.After(w.Start) && at.Before(now) && (len(points) == 0 || points[len(points)-1].at.Before(at)) {
			points = append(points, coursePoint{at, total, true})
		}
		total += n
		if at = next(at); at.Before(now) {
			points = append(points, coursePoint{at, total, false})
		}
	}
	before := max(total-end.used, 0) // what the budget knows nothing of
	for i := range points {
		points[i].used = min(max(points[i].used-before, 0), end.used)
	}
	return append(points, end), nil
}
