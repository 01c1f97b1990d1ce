package console_test

import (
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// hostile is what somebody hopes to see run, load or rearrange a page.
var hostile = []string{
	`<script>window.pwned=1</script>`,
	`<img src=x onerror="window.pwned=1"><img src="https://elsewhere.invalid/pixel.gif">`,
	`" autofocus onfocus="window.pwned=1" x="`,
	`javascript:window.pwned=1`,
	`[click](javascript:window.pwned=1) ![](https://elsewhere.invalid/pixel.gif)`,
	`</textarea></title></style></script><svg onload="window.pwned=1">`,
	`{{.Token}}${window.pwned=1}`,
	"\u202egnp.exe\u202c \x1b[31mred\x1b[0m",
}

// Control 24: whatever models and callers write is text on every page, runs nothing, loads nothing and links nowhere.
func TestControl24HostileText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := catch(func() {
		if _, err := w.command("project", "create", "victim", "--bodies", "keep", "--retention", "1d", "--label", "note="+hostile[1]); err != nil {
			panic(err)
		}
		w.key("victim", "caller", `calls`)
		for _, text := range hostile {
			w.user = text
			w.exchanges[text] = w.chat("victim", "chat", "echo:"+text, false)
			w.chat("victim", text, text, false)
			w.chat("victim", "rude", text, false)
		}
	}); err != nil {
		t.Fatal(err)
	}
	b := open(t, w.admin)
	chromedp.ListenTarget(b.ctx, func(event any) {
		if e, ok := event.(*page.EventJavascriptDialogOpening); ok {
			t.Errorf("a page opens a dialog: %s", e.Message)
		}
	})
	b.signIn(w.adminKey)
	more := []string{"exchanges?status=error"}
	for _, id := range w.exchanges {
		more = append(more, "exchanges/"+id)
	}
	b.walk(more, func(s sight) {
		var found struct {
			Pwned bool
			Bad   []string
		}
		b.eval(`({pwned: "pwned" in window, bad: [...document.querySelectorAll("main img, main script, main iframe, main object, [onerror], [onfocus], [onload], [style], a[href^='javascript:' i]")].map(e => e.outerHTML)})`, &found)
		if found.Pwned || len(found.Bad) > 0 {
			t.Errorf("%s: a script ran: %t; elements of others: %q", s.path, found.Pwned, found.Bad)
		}
	})
}
