package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

// command is the page on the command line, "" where that cannot ask for only some providers or labels.
func (a *usageAsk) command() string {
	if len(a.made) > 0 {
		return ""
	}
	words := []string{"penstock usage --by", quoteWord(a.by.Name)}
	if !a.period.From.IsZero() {
		words = append(words, "--from", a.period.From.UTC().Format(time.RFC3339))
	} else {
		words = append(words, "--from", "1970-01-01")
	}
	words = append(words, "--to", a.period.To.UTC().Format(time.RFC3339))
	if a.by.Name == "day" && a.q.Zone != time.UTC && a.q.Zone.String() != "UTC" {
		words = append(words, "--zone", quoteWord(a.q.Zone.String()))
	}
	only := a.only()
	for i := 0; i < len(only); i += 2 {
		if only[i+1] != "" {
			words = append(words, "--"+only[i], quoteWord(only[i+1]))
		}
	}
	return strings.Join(words, " ")
}

// quoteWord writes a word so that a shell takes it for one, whatever a caller put into it.
func quoteWord(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,@+", r)
	}
	s = figure.Clean(s)
	if s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// usageCSV is the table for other programs, whole, with exact numbers: what penstock usage --csv prints.
func (c *Console) usageCSV(v *visit) error {
	a, err := c.usageAsk(v)
	if err != nil {
		return err
	}
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	_ = c.catchUp(ctx) // the page from which this is got says so
	by := []string{a.by.Name}
	if v.r.URL.Query().Get("steps") != "" && a.by.Name != a.step {
		by = []string{a.step, a.by.Name}
	}
	sums, err := c.sums(ctx, a, a.q, by...)
	if err != nil {
		return err
	}
	head, rows := usage.Table(by, sums)
	return c.sendCSV(v, "usage-by-"+strings.Join(by, "-"), head, rows)
}

// sendCSV sends rows as a file.
func (c *Console) sendCSV(v *visit, name string, head []string, rows [][]string) error {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, name)
	h := v.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="penstock-`+name+`.csv"`)
	v.status = http.StatusOK
	v.w.WriteHeader(v.status)
	if v.r.Method == http.MethodHead {
		return nil
	}
	_ = figure.CSV(v.w, head, rows) // a browser that left has nobody to tell
	return nil
}
