package provider

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	var last atomic.Pointer[http.Request]
	var status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r)
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(`{"data":[]}`))
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	c, err := New("house", Config{Dialect: llm.OpenAI, BaseURL: "http://models.invalid:80/v1", Credential: "env:KEY"}, Options{
		Codec: wordCodec{}, Defaults: Timeouts{Connect: time.Second},
		Resolve: func(string) (secret.String, error) { return secret.New("s3cr3t"), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for code, want := range map[int]string{200: "", 401: "", 404: "", 429: "", 500: "", 501: "", 502: "status_502", 503: "status_503"} {
		status.Store(int64(code))
		if got, asked := c.Probe(t.Context(), at); got != want || !asked {
			t.Errorf("%d: %q %v, want %q", code, got, asked, want)
		}
	}
	seen := last.Load()
	if seen == nil || seen.Method != http.MethodGet || seen.URL.Path != "/v1/words" || seen.Host != "models.invalid:80" && seen.Host != "models.invalid" ||
		seen.Header.Get("Authorization") != "Bearer s3cr3t" {
		t.Errorf("%+v", seen)
	}
	server.Close()
	if got, _ := c.Probe(t.Context(), at); got != "connect_error" {
		t.Errorf("nobody there: %q", got)
	}
}

func TestWhoIsProbed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		want time.Duration
	}{
		{Config{}, 0}, {Config{Private: true}, 10 * time.Second},
		{Config{Private: true, Probe: time.Hour}, time.Hour}, {Config{Probe: 5 * time.Second}, 5 * time.Second},
	} {
		if got := c.cfg.ProbeEvery(); got != c.want {
			t.Errorf("%+v: %s", c.cfg, got)
		}
	}
}
