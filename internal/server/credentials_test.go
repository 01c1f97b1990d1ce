package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// A vendor is a provider that knows keys, and says otherwise of those that it does not know.
type vendor struct {
	*httptest.Server

	mu    sync.Mutex          // guards the fields below
	says  map[string]response // by key; those that are not there answer
	calls []string            // keys
}

// A response is a refusal.
type response struct {
	status int
	body   string
	head   map[string]string
}

func startVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{says: map[string]response{}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		v.mu.Lock()
		v.calls = append(v.calls, key)
		refusal, refuses := v.says[key]
		v.mu.Unlock()
		for name, value := range refusal.head {
			w.Header().Set(name, value)
		}
		if refuses && refusal.status != http.StatusOK {
			w.WriteHeader(refusal.status)
			_, _ = io.WriteString(w, refusal.body)
			return
		}
		_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) say(key string, r response) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.says[key] = r
}

// took gives the keys of the calls since it was asked last.
func (v *vendor) took() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	calls := v.calls
	v.calls = nil
	return calls
}

// startWithKeys starts a Penstock with two keys of a vendor, in files a and b.
func startWithKeys(t *testing.T, v *vendor, log io.Writer) (w *world, write func(file, key string)) {
	t.Helper()
	dir := t.TempDir()
	write = func(file, key string) {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path+".new", []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "key-one")
	write("b", "key-two")
	text := settings(nil, fmt.Sprintf("  shop: { dialect: openai, base_url: %q, vendor: none, credentials: [\"file:a\", \"file:b\"] }", v.URL))
	return start(t, penstocktest.Options{Config: text, Dir: dir, Log: log}), write
}

// ok sees to it that a call is answered.
func (w *world) ok(model string) {
	w.t.Helper()
	if a := w.ask(model, "hello", false); a.Status != http.StatusOK || a.Err != nil {
		w.t.Errorf("%d %v %s", a.Status, a.Err, a.Body)
	}
}

// Fault 42: no call fails because of one key; only that is out of use, the record says which was shown, and nobody is told its value.
func TestFault42OneKeyOfTwoIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refusal response
		alert   string
		class   string
	}{
		"refused":          {response{status: 401, body: `{"error":{"message":"Incorrect API key provided: key-one","type":"invalid_request_error","code":"invalid_api_key"}}`}, "credential_refused", "credential"},
		"refused as 400":   {response{status: 400, body: `{"error":{"message":"Incorrect API key provided: key-one"}}`}, "credential_refused", "credential"},
		"nothing to spend": {response{status: 429, body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`}, "quota_exhausted", "quota_exhausted"},
		"credit":           {response{status: 400, body: `{"error":{"message":"Your credit balance is too low"}}`}, "quota_exhausted", "quota_exhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := startVendor(t)
			var log logs
			w, write := startWithKeys(t, v, &log)
			w.ok("shop/m")
			v.say("key-one", c.refusal)
			for range 3 {
				w.ok("shop/m")
			}
			if got, want := v.took(), []string{"key-one", "key-one", "key-two", "key-two", "key-two"}; !slices.Equal(got, want) {
				t.Errorf("shown were %q, want %q", got, want)
			}
			records := w.Records()
			var tries [][]int
			for _, r := range records {
				var all []int
				for _, try := range r.Tries {
					all = append(all, try.Credential)
				}
				tries = append(tries, all)
			}
			if !slices.ContainsFunc(tries, func(all []int) bool { return slices.Equal(all, []int{1, 2}) }) {
				t.Errorf("no record tells that the second was tried after the first: %v", tries)
			}
			if !penstocktest.Eventually(func() bool {
				return strings.Contains(w.Metrics(), `penstock_alerts_open{kind="`+c.alert+`",severity="critical"} 1`)
			}) {
				t.Errorf("there is no alert %s", c.alert)
			}
			// With another value it is back at once, and used when the second has none.
			write("a", "key-three")
			if !penstocktest.Eventually(func() bool {
				w.ok("shop/m")
				return !strings.Contains(w.Metrics(), `penstock_provider_credential_out{credential="1",provider="shop",reason="`+c.class+`"} 1`)
			}) {
				t.Error("the new key is not tried")
			}
			v.say("key-two", c.refusal)
			v.took()
			w.ok("shop/m")
			if got, want := v.took(), []string{"key-two", "key-three"}; !slices.Equal(got, want) {
				t.Errorf("shown were %q, want %q", got, want)
			}
			if seen := log.String() + fmt.Sprintf("%+v", records) + w.Metrics(); strings.Contains(seen, "key-one") || strings.Contains(seen, "key-two") {
				t.Error("a key was seen")
			}
		})
	}
}

// A 429 of one key, or a limit that is used up, moves calls to the other, and no client sees it.
func TestCallsSpillOver(t *testing.T) {
	t.Parallel()
	v := startVendor(t)
	w, _ := startWithKeys(t, v, io.Discard)
	v.say("key-one", response{status: http.StatusOK, head: map[string]string{
		"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "60s",
	}})
	for range 3 {
		w.ok("shop/m")
	}
	if got, want := v.took(), []string{"key-one", "key-two", "key-two"}; !slices.Equal(got, want) {
		t.Errorf("shown were %q, want %q", got, want)
	}
	v.say("key-two", response{status: http.StatusTooManyRequests, body: `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`, head: map[string]string{"retry-after": "30"}})
	v.say("key-one", response{status: http.StatusOK})
	// The first has few requests left, the second none: some come back every second.
	if !penstocktest.Eventually(func() bool {
		a := w.ask("shop/m", "hello", false)
		return a.Status == http.StatusOK
	}) {
		t.Error("no call is answered")
	}
	if got := v.took(); !slices.Contains(got, "key-two") || got[len(got)-1] != "key-one" {
		t.Errorf("shown were %q", got)
	}
}

// Fault 63 with several: while both keys are replaced under load, one after the other, and the old ones revoked, no call fails.
func TestFault63SeveralKeysRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	v := startVendor(t)
	var log logs
	w, write := startWithKeys(t, v, &log)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				w.ok("shop/m")
			}
		})
	}
	revoked := response{status: 401, body: `{"error":{"message":"Incorrect API key provided: key-one","code":"invalid_api_key"}}`}
	inUse := func(key string) {
		t.Helper()
		v.took()
		if !penstocktest.Eventually(func() bool {
			all := v.took()
			return len(all) > 0 && !slices.ContainsFunc(all, func(k string) bool { return k != key })
		}) {
			t.Errorf("%s is not used alone", key)
		}
	}
	inUse("key-one")
	write("a", "key-three")
	inUse("key-three")
	v.say("key-one", revoked)
	v.say("key-three", revoked) // before its successor is there
	inUse("key-two")
	write("b", "key-four")
	inUse("key-four")
	v.say("key-two", revoked)
	write("a", "key-five")
	if !penstocktest.Eventually(func() bool {
		return strings.Contains(w.Metrics(), `penstock_provider_credential_out{credential="1",provider="shop",reason="credential"} 0`)
	}) {
		t.Error("the first is not back")
	}
	v.say("key-four", revoked)
	inUse("key-five")
	cancel()
	load.Wait()
	for _, key := range []string{"key-one", "key-two", "key-three", "key-four", "key-five"} {
		if strings.Contains(log.String()+w.Metrics()+fmt.Sprintf("%+v", w.Records()), key) {
			t.Errorf("%s was seen", key)
		}
	}
}
