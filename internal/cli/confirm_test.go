package cli

import (
	"bytes"
	"strings"
	"testing"
)

// Only people are asked, and only a yes is one.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "": false, "n\n": false, "yikes\n": false} {
		var said bytes.Buffer
		a := &app{in: strings.NewReader(answer), err: &said, ttyIn: true, ttyErr: true}
		if got := a.confirm("Really?"); got != want || said.String() != "Really? [y/N] " {
			t.Errorf("%q is %v, asked %q", answer, got, said.String())
		}
	}
	for _, a := range []*app{{ttyErr: true}, {ttyIn: true}, {}} {
		var said bytes.Buffer
		a.err = &said
		if !a.confirm("Really?") || said.Len() > 0 {
			t.Errorf("a script was asked %q", said.String())
		}
	}
}

func TestRevokeAsks(t *testing.T) {
	t.Parallel()
	var out, said bytes.Buffer
	a := &app{
		in: strings.NewReader("n\n"), out: &out, err: &said, ttyIn: true, ttyErr: true,
		env: func(name string) (string, bool) {
			return map[string]string{"PENSTOCK_ADMIN_URL": "http://127.0.0.1:1", "PENSTOCK_ADMIN_KEY": "psk_x"}[name], true
		},
	}
	if code := a.run(t.Context(), []string{"key", "revoke", "key_1"}); code != exitFailure || !strings.Contains(said.String(), "Nothing was changed") {
		t.Errorf("exit %d, %s", code, said.String())
	}
	a.in = strings.NewReader("")
	if code := a.run(t.Context(), []string{"key", "revoke", "key_1", "--yes"}); code != exitUnreachable {
		t.Errorf("exit %d, %s", code, said.String())
	}
}
