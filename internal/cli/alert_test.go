package cli_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// receive runs a receiver of alerts until the story ends. Its address and secret are in the files alert.url and
// alert.secret; what it was sent, with a signature that is right, goes to received.jsonl, and all else to wrong.txt.
func receive(ts *testscript.TestScript, _ bool, _ []string) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	ts.Check(err)
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		name := "received.jsonl"
		if !signed(key, r.Header, body) {
			name = "wrong.txt"
		}
		if f, err := os.OpenFile(ts.MkAbs(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintf(f, "%s\n", body)
			f.Close()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	ts.Defer(server.Close)
	for name, text := range map[string]string{
		"alert.url": server.URL + "/hook", "alert.secret": "whsec_" + base64.StdEncoding.EncodeToString(key), "received.jsonl": "",
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// signed verifies a message as the libraries for Standard Webhooks do.
func signed(key []byte, h http.Header, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return strings.HasPrefix(h.Get("webhook-id"), "msg_") && hmac.Equal([]byte(h.Get("webhook-signature")), []byte(want))
}
