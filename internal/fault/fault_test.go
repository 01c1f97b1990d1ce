package fault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/errors.md anew")

func TestEveryCodeHasItsEntry(t *testing.T) {
	t.Parallel()
	for _, c := range Codes() {
		e, ok := Lookup(c)
		if !ok || e.Meaning == "" || !strings.HasSuffix(e.Meaning, ".") {
			t.Errorf("%s: entry %+v: the meaning is a sentence", c, e)
		}
	}
}

// The reference is made from the registry, so that it cannot tell anything else.
// TestNoHintPromisesThatCallsGoOn: whether they do depends on what else is away and for how long, which no code knows.
func TestNoHintPromisesThatCallsGoOn(t *testing.T) {
	t.Parallel()
	for code, e := range registry {
		for _, text := range []string{e.Meaning, e.Hint} {
			if strings.Contains(strings.ToLower(text), "not affected") {
				t.Errorf("%s: %q", code, text)
			}
		}
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/errors.md"
	var b strings.Builder
	b.WriteString("# Error codes\n\nFor whoever got an error from Penstock and wants to know what it means. Generated from `internal/fault/codes.go` by\n" +
		"`go test ./internal/fault -update`. Next: [the API](api.md).\n\nData plane errors have the shape of the client's dialect, with the code in " +
		"`error.code`; control plane errors are\n`{\"error\":{\"code\",\"message\",\"hint\"}}`. Every answer carries `X-Request-Id`. A provider's own refusal of a request " +
		"(400, 404, 413,\n422 ...) keeps its status and its error object.\n\n| code | status | meaning | what to do |\n| --- | --- | --- | --- |\n")
	for _, c := range Codes() {
		e, _ := Lookup(c)
		hint := e.Hint
		if hint == "" {
			hint = "what the message says"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", c, New(c, "").HTTPStatus(), e.Meaning, hint)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not current (err %v): go test ./internal/fault -update", file, err)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.0.0.7:5432: password hunter2")
	for _, c := range []struct {
		in     error
		code   Code
		status int
	}{
		{context.Canceled, ClientGone, StatusClosed},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), DeadlinePassed, 504},
		{secret, InternalError, 500},
		{fmt.Errorf("stage: %w", New(ModelNotFound, "no")), ModelNotFound, 404},
	} {
		e := From(c.in)
		if e.Code != c.code || e.HTTPStatus() != c.status {
			t.Errorf("From(%v) = %s, %d", c.in, e.Code, e.HTTPStatus())
		}
		if strings.Contains(e.Text(), "hunter2") || strings.Contains(e.Text(), "10.0.0.7") {
			t.Errorf("the caller would read the cause: %s", e.Text())
		}
	}
	if From(nil) != nil {
		t.Error("no error is no fault")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	e := New(ModelNotFound, "No model %q for this key.", "gpt")
	if got, want := e.Text(), `No model "gpt" for this key. All: GET /v1/models`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e.Hint = "Ask somebody."
	if got := e.Text(); !strings.HasSuffix(got, "Ask somebody.") {
		t.Errorf("the error's own hint counts: %q", got)
	}
	if e.Status = 418; e.HTTPStatus() != 418 {
		t.Error("a provider's own status is passed on")
	}
}
