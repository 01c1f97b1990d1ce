package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
)

// explainBodies prints what was asked and answered, as it is but for what would command a terminal.
func (a *app) explainBodies(ctx context.Context, client *adminClient, f *adminFlags, id, which, reason string) error {
	if which != "both" && which != "request" && which != "answer" {
		return fail(exitUsage, "write --bodies, --bodies=request or --bodies=answer", "--bodies=%s is not known", clean(which))
	}
	var b admin.Bodies
	query := url.Values{"reason": {reason}}
	if err := client.call(ctx, http.MethodGet, "/exchanges/"+url.PathEscape(id)+"/bodies", query, nil, &b); err != nil {
		return err
	}
	if f.json {
		return a.printJSON(b)
	}
	if which != "answer" {
		a.printBody("request", "", b.Request)
	}
	if which == "request" {
		return nil
	}
	if b.Answer.Size == 0 {
		fmt.Fprintln(a.out, a.paint(a.tty, bold, "no answer"))
		return nil
	}
	note := ""
	if !b.Whole {
		note = ", broken off"
	}
	a.printBody("answer", note, b.Answer)
	return nil
}

func (a *app) printBody(name, note string, b admin.Body) {
	size := figure.Bytes(b.Size)
	if b.Kept < b.Size {
		size = "the first " + figure.Bytes(b.Kept) + " of " + size
	}
	fmt.Fprintf(a.out, "%s\n%s\n\n", a.paint(a.tty, bold, name+" ("+size+note+")"), cleanText(b.Text))
}
