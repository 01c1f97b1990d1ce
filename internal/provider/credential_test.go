package provider

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/secret"
)

const canary = "sk-canary-0123456789"

func TestCredential(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(p *peer) {
		for {
			req, _, ok := p.request()
			if !ok {
				return
			}
			v := req.Header.Get("Authorization")
			p.say("HTTP/1.1 200 OK\r\nContent-Length: " + fmt.Sprint(len(v)+1) + "\r\n\r\n." + v)
		}
	})
	file := filepath.Join(t.TempDir(), "key")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ref string) (secret.String, error) {
		b, err := os.ReadFile(strings.TrimPrefix(ref, "file:"))
		return secret.New(string(b)), err
	}
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "file:" + file}, Options{Resolve: read})
	ask := func() string {
		// Time passes for the reference only: the test does not wait a second for each step.
		if last := cl.credentials[0].last.Load(); last != nil {
			aged := *last
			aged.at = aged.at.Add(-lookEvery)
			cl.credentials[0].last.Store(&aged)
		}
		words, f := callAndWalk(t.Context(), cl, plain())
		if f != nil {
			if f.Reason != ReasonCredential || !f.NothingBilled || f.Fallback() || strings.Contains(f.Error(), canary) ||
				!strings.Contains(f.Error(), "providers.house.credential") || strings.Contains(f.Message, file) {
				t.Errorf("failure %v", f)
			}
			return "!"
		}
		return strings.Join(words, "")
	}
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, "!"}, // the file is not there yet
		{func() { write("first") }, ".Bearer first"},
		{func() { write("second") }, ".Bearer second"},
		{func() { _ = os.Remove(file) }, ".Bearer second"}, // it may be being replaced
		{func() {}, "!"}, // it is gone
		{func() { write("third") }, ".Bearer third"},
		{func() { write(canary + "\r\nX-Evil: 1") }, "!"},
	}
	for i, s := range steps {
		s.do()
		if got := ask(); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
}

func TestReferenceIsReadOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r := &reference{resolve: func(string) (secret.String, error) { reads++; return secret.New("s"), nil }}
		for range 100 {
			if s, err := r.read(time.Now()); s.Reveal() != "s" || err != nil {
				t.Fatal(s, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if reads != 10 {
			t.Errorf("%d reads in 10 s, want 10", reads)
		}
	})
}

// Security 12: what a provider repeats of the credential does not come out again.
func TestFailuresAreRedacted(t *testing.T) {
	t.Parallel()
	body := `{"error":{"message":"Incorrect key ` + canary + `"}}`
	up := startUpstream(t, answering(fmt.Sprintf("HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"},
		Options{Resolve: func(string) (secret.String, error) { return secret.New(canary), nil }})
	_, f := callAndWalk(t.Context(), cl, plain())
	if f == nil || f.Status != 400 {
		t.Fatalf("got %+v", f)
	}
	for name, text := range map[string]string{
		"Error": f.Error(), "Message": f.Message, "Code": f.Code, "Param": f.Param, "Body": string(f.Body), "Err": f.Err.Error(),
		"all": fmt.Sprintf("%+v", f),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s has the credential: %s", name, text)
		}
	}
	if !strings.Contains(f.Message, "Incorrect key [redacted]") {
		t.Errorf("message %q", f.Message)
	}
}

// Security 17 and S15: the credential goes to the configured host only, whatever an upstream or a codec wants.
func TestCredentialIsBoundToTheHost(t *testing.T) {
	t.Parallel()
	thief := startUpstream(t, answering(hello))
	up := startUpstream(t, answering("HTTP/1.1 307 Go\r\nLocation: "+thief.url()+"/v1\r\nContent-Length: 0\r\n\r\n"))
	o := Options{Resolve: func(string) (secret.String, error) { return secret.New(canary), nil }}
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"}, o)
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || f.Status != 307 {
		t.Errorf("got %v", f)
	}
	o.Codec = wordCodec{elsewhere: thief.l.Addr().String()}
	cl = newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"}, o)
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || !f.NothingBilled {
		t.Errorf("got %v", f)
	}
	if thief.conns.Load() != 0 {
		t.Error("the other host was called")
	}
}

// TestSeveralCredentials: each try shows the one that it is told to, and only one of them is to blame if it cannot be read.
func TestSeveralCredentials(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 8)
	up := startUpstream(t, func(p *peer) {
		for {
			req, _, ok := p.request()
			if !ok {
				return
			}
			shown <- req.Header.Get("Authorization")
			p.say(hello)
		}
	})
	values := map[string]string{"env:A": "a", "env:B": "b"}
	cl := newTestClient(t, Config{BaseURL: up.url(), Credentials: []string{"env:A", "env:B", "env:C"}}, Options{Resolve: func(ref string) (secret.String, error) {
		if v, ok := values[ref]; ok {
			return secret.New(v), nil
		}
		return secret.String{}, errors.New("no such variable")
	}})
	if cl.Credentials() != 3 {
		t.Errorf("%d credentials", cl.Credentials())
	}
	var seen []string
	for _, index := range []int{0, 1, 7, -1, 1} { // one that is not there is the first
		resp, err := cl.Do(t.Context(), Via{Credential: index}, house, plain())
		if err != nil {
			t.Fatal(err)
		}
		walk(resp)
		seen = append(seen, <-shown)
	}
	if want := []string{"Bearer a", "Bearer b", "Bearer a", "Bearer a", "Bearer b"}; !slices.Equal(seen, want) {
		t.Errorf("shown %q, want %q", seen, want)
	}
	_, err := cl.Do(t.Context(), Via{Credential: 2}, house, plain())
	if f, ok := errors.AsType[*Failure](err); !ok || f.Reason != ReasonCredential || f.Class != ClassCredential || !strings.Contains(f.Error(), "providers.house.credentials[2]: no such variable") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialMarkChangesWithTheValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		value, fail := "one", false
		cl := newTestClient(t, Config{BaseURL: "http://up", Credentials: []string{"env:A", "env:B"}}, Options{Resolve: func(string) (secret.String, error) {
			if fail {
				return secret.String{}, errors.New("away")
			}
			return secret.New(value), nil
		}})
		first := cl.CredentialMark(0)
		if first == 0 || cl.CredentialMark(1) != first || cl.CredentialMark(2) != 0 || cl.CredentialMark(-1) != 0 {
			t.Errorf("marks %d %d %d", first, cl.CredentialMark(1), cl.CredentialMark(2))
		}
		value = "two"
		if cl.CredentialMark(0) != first {
			t.Error("it was read within the second")
		}
		time.Sleep(lookEvery)
		second := cl.CredentialMark(0)
		if second == first || second == 0 {
			t.Errorf("mark %d after a change, %d before", second, first)
		}
		value = "one"
		time.Sleep(lookEvery)
		if cl.CredentialMark(0) != first {
			t.Error("the same value has another mark")
		}
		fail = true
		time.Sleep(2 * lookEvery)
		cl.CredentialMark(0) // one look that fails changes nothing
		time.Sleep(2 * lookEvery)
		if mark := cl.CredentialMark(0); mark != 0 {
			t.Errorf("mark %d of what cannot be read", mark)
		}
	})
}
