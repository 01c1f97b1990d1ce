package cli

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What may take long is waited for, however long other calls are.
func TestPatience(t *testing.T) {
	t.Parallel()
	impatient := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-r.Context().Done() // longer than the client waits
			close(impatient)
			return
		}
		<-impatient
		_, _ = w.Write([]byte(`{"drifts":3}`))
	}))
	defer s.Close()
	c := &adminClient{base: s.URL, http: &http.Client{Timeout: 50 * time.Millisecond}}
	if err := c.call(t.Context(), http.MethodGet, "/reconcile", nil, nil, nil); err == nil {
		t.Error("a call that is no slow one is waited for")
	}
	var out struct {
		Drifts int `json:"drifts"`
	}
	if err := c.patiently().call(t.Context(), http.MethodPost, "/reconcile", nil, struct{}{}, &out); err != nil || out.Drifts != 3 {
		t.Errorf("%+v, %v", out, err)
	}
}
