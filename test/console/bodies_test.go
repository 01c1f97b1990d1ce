package console_test

import (
	"net/http"
	"strings"
	"testing"
)

// An auditor reads what was asked and answered: behind a form, as text, on a page that has no address of its own.
func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := catch(func() {
		if _, err := w.command("project", "create", "vault", "--bodies", "keep", "--retention", "1d"); err != nil {
			panic(err)
		}
		w.key("vault", "caller", "vault calls")
		w.key("vault", "auditor", "reader")
	}); err != nil {
		t.Fatal(err)
	}
	b := open(t, w.admin)
	b.signIn(w.keys["auditor"])
	for _, stream := range []bool{false, true} {
		id := w.chat("vault", "chat", `say:3 </pre><script>window.pwned=1</script><img src=x onerror="window.pwned=1">`, stream)
		page := "exchanges/" + id
		b.open(page)
		b.accessible("an exchange with bodies")
		b.fill("#reason", "ticket 4711")
		if status := b.click("Read it"); status != http.StatusOK {
			t.Fatalf("reading: %d %s", status, b.text("main"))
		}
		b.accessible("bodies")
		b.within("bodies")
		if text := b.text("#request"); !strings.Contains(text, `<script>window.pwned=1</script>`) {
			t.Errorf("the request: %s", text)
		}
		if text := b.text("#answer"); strings.Contains(text, "data: [DONE]") != stream || !strings.Contains(text, "choices") {
			t.Errorf("the answer: %s", text)
		}
		var pwned bool
		if b.eval("window.pwned === 1", &pwned); pwned {
			t.Error("what a caller wrote was run")
		}
		if b.at() != page+"/bodies" {
			t.Errorf("at %q", b.at())
		}
	}
	b.open("audit")
	if text := b.text("main"); !strings.Contains(text, "bodies.read") {
		t.Errorf("the chain: %s", text)
	}
}
