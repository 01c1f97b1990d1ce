package console

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/reconcile"
)

const (
	// maxExport bounds a provider's export, in bytes, as penstock reconcile does.
	maxExport = reconcile.MaxFile
	// maxUpload bounds the form with it: an export that was sent before comes back packed, and as text.
	maxUpload = maxExport/3*4 + 1<<20
	// maxReconcile is how long comparing and settling may take.
	maxReconcile = 4 * time.Minute
)

// A reconcileView answers: are the books what the provider bills?
type reconcileView struct {
	Form               reconcileForm
	Providers, Formats []choice
	Problem            *problem
	MaxExport          string
	Result             *reconciledView // nil before the first comparison
}

// A reconcileForm is an export with what to do about it as it is filled in. Held is the export itself, packed, so that it need not be
// chosen again; it is kept nowhere but in the page.
type reconcileForm struct {
	File, Held, Format, Provider, Credential, Zone, Threshold, Names, Ignore string
	Unfinished                                                               bool
}

func (c *Console) reconcilePage(v *visit) error {
	return c.showReconcile(v, http.StatusOK, &reconcileView{})
}

func (c *Console) showReconcile(v *visit, status int, d *reconcileView) error {
	d.MaxExport = strconv.Itoa(maxExport>>20) + " MiB"
	d.Providers = []choice{{"", "the one that it can be of", d.Form.Provider == ""}}
	vendors := c.o.Desk.Vendors()
	names := make([]string, 0, len(vendors))
	for name := range vendors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		label := name
		if vendors[name] != "" && vendors[name] != "none" && vendors[name] != name {
			label += " (" + vendors[name] + ")"
		}
		d.Providers = append(d.Providers, choice{name, label, name == d.Form.Provider})
	}
	for _, f := range []choice{{"", "what it looks like", false}, {"openai", "OpenAI", false}, {"anthropic", "Anthropic", false}, {"plain", "plain CSV", false}} {
		f.Chosen = f.Value == d.Form.Format
		d.Formats = append(d.Formats, f)
	}
	f := c.frame(v, "reconcile", "Reconcile with a provider's export", d)
	f.Command = d.command()
	return c.send(v, status, "frame.html", f)
}

// command is the comparison on the command line.
func (d *reconcileView) command() string {
	words := []string{"penstock reconcile"}
	if d.Form.File == "" {
		return "penstock reconcile FILE"
	}
	words = append(words, quoteWord(d.Form.File))
	for _, of := range [][2]string{
		{"--format", d.Form.Format}, {"--provider", d.Form.Provider}, {"--credential", d.Form.Credential}, {"--zone", d.Form.Zone}, {"--threshold", d.Form.Threshold},
	} {
		if of[1] != "" {
			words = append(words, of[0], quoteWord(of[1]))
		}
	}
	for _, of := range [][2]string{{"--match", d.Form.Names}, {"--ignore", d.Form.Ignore}} {
		for line := range strings.Lines(of[1]) {
			if line = strings.TrimSpace(line); line != "" {
				words = append(words, of[0], quoteWord(line))
			}
		}
	}
	if d.Form.Unfinished {
		words = append(words, "--unfinished")
	}
	return strings.Join(words, " ")
}

// reconcileExport sets an export beside the books, and writes what follows if that is asked for and confirmed.
func (c *Console) reconcileExport(v *visit) error {
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(maxReconcile + time.Minute)) // or it has as long as all pages
	get := fields(v.form)
	d := &reconcileView{Form: reconcileForm{
		Format: get("format"), Provider: get("provider"), Credential: get("credential"), Zone: get("zone"), Threshold: get("threshold"),
		Names: strings.ReplaceAll(get("names"), "\r\n", "\n"), Ignore: strings.ReplaceAll(get("ignore"), "\r\n", "\n"), Unfinished: get("unfinished") != "",
	}}
	in, err := exportAsked(v, d)
	var out *reconcile.Outcome
	if err == nil {
		ctx, cancel := context.WithTimeout(v.ctx(), maxReconcile)
		defer cancel()
		out, err = c.o.Desk.Run(ctx, in)
	}
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		d.Problem = why
		setRetry(v, fault.From(err))
		return c.showReconcile(v, status, d)
	}
	if get("do") == "csv" {
		return c.reconciledCSV(v, out)
	}
	if d.Result, err = c.reconciled(v, out); err != nil {
		return err
	}
	status := http.StatusOK
	switch {
	case out.Changed:
		status = http.StatusConflict
		d.Problem = &problem{"The books have changed since the comparison that you saw, so nothing was written.", "Look at what it would do now, and confirm that."}
	case d.Problem != nil:
		status = http.StatusBadRequest
	}
	return c.showReconcile(v, status, d)
}

// exportAsked reads what is asked for.
func exportAsked(v *visit, d *reconcileView) (*reconcile.Request, error) {
	form := &d.Form
	in := &reconcile.Request{
		Format: form.Format, Provider: form.Provider, Zone: form.Zone, Threshold: strings.TrimSpace(strings.TrimSuffix(form.Threshold, "%")), Unfinished: form.Unfinished,
		Names: map[string]string{},
	}
	var err error
	if in.File, form.File, err = exportSent(v); err != nil {
		return nil, err
	}
	if form.Held, err = pack(form.File, in.File); err != nil {
		return nil, err
	}
	if form.Credential != "" {
		if in.Credential, err = strconv.Atoi(form.Credential); err != nil || in.Credential < 1 {
			return nil, askedWrong("credential", "They are counted from 1; leave it empty for all.", "%q is not the number of a credential.", clip(form.Credential))
		}
	}
	for line := range strings.Lines(form.Names) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		i := strings.LastIndexByte(line, '=')
		if i < 1 {
			return nil, askedWrong("names", "Write one a line: NAME=PROVIDER/MODEL.", "%q does not say what a name stands for.", clip(line))
		}
		in.Names[strings.TrimSpace(line[:i])] = strings.TrimSpace(line[i+1:])
	}
	for line := range strings.Lines(form.Ignore) {
		if line = strings.TrimSpace(line); line != "" {
			in.Ignore = append(in.Ignore, line)
		}
	}
	do := v.form.Get("do")
	if do != "settle" && do != "adjust" {
		return in, nil
	}
	if v.form.Get("confirm") == "" || v.form.Get("plan") == "" {
		d.Problem = &problem{"Nothing was written: it was not confirmed.", "Tick that you have looked at what it will do."}
		return in, nil
	}
	in.Settle, in.Adjust, in.Plan = true, do == "adjust", v.form.Get("plan")
	return in, nil
}

// exportSent gives the file of a form: the one that was chosen, or the one that was sent before.
func exportSent(v *visit) (file []byte, name string, err error) {
	if v.r.MultipartForm != nil {
		for _, h := range v.r.MultipartForm.File["file"] {
			if h.Filename == "" { // none was chosen
				continue
			}
			name = figure.Clean(clip(h.Filename))
			if h.Size > maxExport {
				return nil, name, askedWrong("file", "Export a shorter time, or by day and model only. Nothing was changed.",
					"The export %s has %s, and %s is the most.", name, figure.Bytes(h.Size), figure.Bytes(maxExport))
			}
			f, err := h.Open()
			if err != nil {
				return nil, name, err
			}
			defer func() { _ = f.Close() }() // it was only read
			if file, err = io.ReadAll(f); err != nil {
				return nil, name, err
			}
		}
	}
	if held := v.form.Get("held"); name == "" && held != "" {
		if file, name, err = unpack(held); err != nil {
			return nil, "", askedWrong("file", "Choose the file again. Nothing was changed.", "The export that was sent before cannot be read.")
		}
	}
	switch {
	case name == "":
		return nil, "", askedWrong("file", "Choose the file that you have from the provider.", "There is no export.")
	case !utf8.Valid(file):
		return nil, name, askedWrong("file", "Save it as CSV or JSON in UTF-8; a packed file has to be unpacked. Nothing was changed.", "The export %s is not text in UTF-8.", name)
	}
	return file, name, nil
}

// pack makes text of a file that a form can carry.
func pack(name string, file []byte) (string, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Comment = base64.StdEncoding.EncodeToString([]byte(name)) // a name may be any text, and what stands here may not
	if _, err := z.Write(file); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// unpack gives the file back, of at most maxExport bytes.
func unpack(held string) (file []byte, name string, err error) {
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(held)))
	if err != nil {
		return nil, "", err
	}
	if file, err = io.ReadAll(io.LimitReader(z, maxExport+1)); err != nil {
		return nil, "", err
	}
	called, err := base64.StdEncoding.DecodeString(z.Comment)
	if err == nil && len(file) > maxExport {
		err = io.ErrShortBuffer
	}
	if name = figure.Clean(clip(string(called))); name == "" {
		name = "export"
	}
	return file, name, err
}

// reconciledCSV is the comparison, whole and exact.
func (c *Console) reconciledCSV(v *visit, out *reconcile.Outcome) error {
	head := []string{
		"day", "provider", "targets", "names", "state", "books_usd", "billed_usd", "drift_usd", "input_tokens", "output_tokens",
		"billed_input_tokens", "billed_output_tokens", "unknown", "unknown_most_usd", "left_usd", "why",
	}
	rows := make([][]string, 0, len(out.Lines))
	for i := range out.Lines {
		l := &out.Lines[i]
		billed, drift, in, answer := "", "", "", ""
		if l.Money {
			billed, drift = l.Billed.String(), l.Drift.String()
		}
		if l.Tokens {
			in, answer = strconv.FormatInt(l.Usage.Input, 10), strconv.FormatInt(l.Usage.Output, 10)
		}
		rows = append(rows, []string{
			l.Date, l.Provider, strings.Join(l.Models, " "), strings.Join(l.Names, " "), string(l.State), l.Books.String(), billed, drift,
			strconv.FormatInt(l.Recorded.Input, 10), strconv.FormatInt(l.Recorded.Output, 10), in, answer,
			strconv.FormatInt(l.Unknown, 10), l.Most.String(), l.Left.String(), l.Why,
		})
	}
	days := out.Export.Days
	return c.sendCSV(v, "reconcile-"+days[0].Date+"-"+days[len(days)-1].Date, head, rows)
}
