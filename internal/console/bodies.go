package console

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// maxShown bounds what a page shows of a request, and of an answer, in bytes: browsers are slow with a page of megabytes.
const maxShown = 256 << 10

// A bodiesForm asks why bodies are to be read.
type bodiesForm struct {
	May     bool // read bodies
	Wanted  bool // the project wanted them kept
	Max     int  // characters of a reason
	Reason  string
	Problem *problem
}

func (c *Console) bodiesFormOf(v *visit, r *usage.Record) bodiesForm {
	return bodiesForm{
		May: v.may(auth.ReadBodies) && c.o.Bodies != nil, Max: bodies.MaxReason,
		Wanted: slices.ContainsFunc(r.Stages, func(d pipeline.Decision) bool { return d.Stage == bodies.StageName }),
	}
}

// A bodiesView answers: what was asked, and what was answered?
type bodiesView struct {
	ID, Short, Reason string
	Parts             []bodyView
}

// A bodyView is a request or an answer as a page shows it.
type bodyView struct {
	ID, Name string
	Size     string
	Text     string
	Notes    []string // what is missing of it, and why
}

// readBodies gives bodies out, by the function that the control API gives them out with: that they are read, by whom and
// why, is in the audit chain before they are opened. The page is the answer to the form and has no address of its own, so
// it is in no history, and browsers may not keep it.
func (c *Console) readBodies(v *visit) error {
	if c.o.Bodies == nil {
		return fault.New(fault.NotThere, "Nothing is kept here: records are off.")
	}
	reason, err := bodies.CleanReason(v.form.Get("reason"))
	if err != nil { // before anything is read
		return c.refuseBodies(v, err)
	}
	r, got, err := c.openBodies(v, reason)
	switch {
	case r == nil:
		return err
	case err != nil:
		return c.refuseBodies(v, err)
	}
	data := bodiesView{ID: r.ID, Short: short(r.ID), Reason: reason, Parts: []bodyView{
		bodyOf("request", "Request", &got.Request), bodyOf("answer", "Answer", &got.Answer),
	}}
	if answer := &data.Parts[1]; !got.Whole && got.Answer.Size > 0 {
		answer.Notes = append(answer.Notes, "The answer did not come to its end: the provider broke off, or the caller left.")
	}
	f := c.frame(v, "bodies", "Bodies of "+short(r.ID), data)
	f.Command = "penstock explain " + r.ID + ` --bodies --reason "…"`
	return c.send(v, http.StatusOK, "frame.html", f)
}

// openBodies finds the exchange, then its bodies. Without a record the error is about the exchange.
func (c *Console) openBodies(v *visit, reason string) (*usage.Record, *bodies.Content, error) {
	ctx, done, err := c.reading(v)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	r, err := c.record(ctx, v.part)
	if err != nil {
		return nil, nil, err
	}
	got, err := c.o.Bodies.Read(ctx, r.Project, r.ID, reason)
	return r, got, err
}

// refuseBodies shows the form again, as it was filled in.
func (c *Console) refuseBodies(v *visit, err error) error {
	status, why, ok := refusal(err)
	if !ok {
		return err
	}
	setRetry(v, fault.From(err))
	return c.exchangePage(v, status, func(d *exchangeView) { d.Bodies.Reason, d.Bodies.Problem = v.form.Get("reason"), why })
}

// bodyOf is what a page shows of a part: JSON on lines of its own, all else as it was.
func bodyOf(id, name string, p *bodies.Part) bodyView {
	out := bodyView{ID: id, Name: name, Size: figure.Bytes(p.Size)}
	text, cut := p.Text, p.Cut()
	if cut {
		out.Notes = append(out.Notes, "Only the first "+figure.Bytes(int64(len(text)))+" of "+out.Size+" were kept: bodies.max.")
	} else if v := jsontext.Value(text); v.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		text = indent(text, maxShown+1)
	}
	if len(text) > maxShown {
		text, cut = text[:maxShown], true
		out.Notes = append(out.Notes, "The page shows its beginning. All that was kept is printed by the command below.")
	}
	out.Text = bodies.Readable(text, cut)
	return out
}

// indent writes valid JSON with each member and element on a line of its own, and stops after limit bytes: what is indented
// deeply may become a thousand times as long. Strings and numbers stay as they were written.
func indent(text []byte, limit int) []byte {
	var out bytes.Buffer
	depth := 0
	line := func() {
		out.WriteByte('\n')
		for range min(depth, limit) {
			out.WriteString("  ")
		}
	}
	inString, escaped := false, false
	for i, c := range text {
		if out.Len() >= limit {
			break
		}
		switch {
		case inString:
			out.WriteByte(c)
			inString = escaped || c != '"'
			escaped = !escaped && c == '\\'
		case strings.IndexByte(" \t\r\n", c) >= 0:
		case c == '{' || c == '[':
			out.WriteByte(c)
			if depth++; !closes(text[i+1:]) {
				line()
			}
		case c == '}' || c == ']':
			if depth--; out.Bytes()[out.Len()-1] != '{' && out.Bytes()[out.Len()-1] != '[' {
				line()
			}
			out.WriteByte(c)
		case c == ',':
			out.WriteByte(c)
			line()
		case c == ':':
			out.WriteString(": ")
		default:
			out.WriteByte(c)
			inString = c == '"'
		}
	}
	return out.Bytes()[:min(out.Len(), limit)]
}

// closes reports whether the next of a text is the end of an object or array.
func closes(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '}' || text[0] == ']')
}
