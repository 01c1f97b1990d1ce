package bedrock

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/wire/openai"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	keyOf  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	idOf   = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a b"
	signed = "20260102T030405Z"
)

func newRequest(t *testing.T, base string) (*http.Request, provider.Settings) {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	r, err := openai.ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := provider.Settings{BaseURL: u, Region: "eu-west-1"}
	req, err := codec{}.Encode(t.Context(), s, llm.Target{Model: idOf}, r)
	if err != nil {
		t.Fatal(err)
	}
	return req, s
}

func sign(t *testing.T, credential string) (*http.Request, error) {
	t.Helper()
	req, s := newRequest(t, "https://bedrock-runtime.eu-west-1.amazonaws.com")
	return req, codec{}.Sign(req, s, secret.New(credential), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

// All forms of an access key make the same signature, and that is the one that the vendor's documentation describes.
func TestSignatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ credential, session string }{
		{keyID + ":" + keyOf, ""},
		{keyID + ":" + keyOf + "\n", ""},
		{keyID + ":" + keyOf + ":tok/en+==", "tok/en+=="},
		{`{"Version":1,"AccessKeyId":"` + keyID + `","SecretAccessKey":"` + keyOf + "\",\n\"SessionToken\":\"tok\"}", "tok"},
		{`{"Code":"Success","AccessKeyId":"` + keyID + `","SecretAccessKey":"` + keyOf + `","Token":"tok","Expiration":"2026-01-02T09:00:00Z"}`, "tok"},
	} {
		req, err := sign(t, c.credential)
		if err != nil {
			t.Fatal(err)
		}
		if got := req.Header.Get("X-Amz-Security-Token"); got != c.session {
			t.Errorf("session %q, want %q", got, c.session)
		}
		if got, want := req.Header.Get("Authorization"), signature(t, req); got != want {
			t.Errorf("signed\n%s, want\n%s", got, want)
		}
	}
	if len(contentJSON) != 1 || len(acceptJSON) != 1 {
		t.Error("headers that all requests share were changed")
	}
}

// signature is the header that a request should have, made as the documentation says.
func signature(t *testing.T, req *http.Request) string {
	t.Helper()
	_, rest, _ := strings.Cut(req.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ := strings.Cut(rest, ",")
	body, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(names, ";") {
		value := req.Header.Get(name)
		switch name {
		case "host":
			value = req.URL.Host
		case "content-length":
			value = fmt.Sprint(len(text))
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, value)
	}
	if !strings.Contains(";"+names+";", ";host;") || !strings.Contains(names, "x-amz-date") || !strings.Contains(names, "content-type") {
		t.Errorf("signs only %s", names)
	}
	// The path is escaped once more than it is sent.
	const path = "/model/arn%253Aaws%253Abedrock%253Aus-east-1%253A123456789012%253Aapplication-inference-profile%252Fa%2520b/converse"
	sum := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	canonical := "POST\n" + path + "\n\n" + headers.String() + "\n" + names + "\n" + sum(string(text))
	const scope = "20260102/eu-west-1/bedrock/aws4_request"
	key := []byte("AWS4" + keyOf)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+signed+"\n"+scope+"\n"+sum(canonical)) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return "AWS4-HMAC-SHA256 Credential=" + keyID + "/" + scope + ", SignedHeaders=" + names + ", Signature=" + hex.EncodeToString(key)
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	req, err := sign(t, "ABSKQmVkcm9jaw==")
	if err != nil || req.Header.Get("Authorization") != "Bearer ABSKQmVkcm9jaw==" || req.Header.Get("X-Amz-Date") != "" {
		t.Errorf("%v %v", err, req.Header)
	}
}

// What is no credential is told without telling what it is.
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	const canary = "canary5f1d"
	for _, credential := range []string{
		"{" + canary, `{"AccessKeyId":"` + canary + `"}`, canary + ":" + canary, canary + "\n" + canary, "AKIAIOSFODNN7EXAMPLE:" + canary, `{"AccessKeyId":7,"x":"` + canary + `"}`,
	} {
		req, err := sign(t, credential)
		if err == nil || strings.Contains(err.Error(), canary) || req.Header.Get("Authorization") != "" {
			t.Errorf("%q: %v, %v", credential, err, req.Header)
		}
	}
	req, s := newRequest(t, "https://up.test")
	s.Region = ""
	if err := (codec{}).Sign(req, s, secret.New(keyID+":"+keyOf), time.Now()); err == nil {
		t.Error("signed for no region")
	}
}
