package provider

import (
	"fmt"
	"os"
	"path/filepath"
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
