package gateway

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// A tape is a client that writes down what reaches it, and when it is flushed.
type tape struct {
	header    http.Header
	status    int
	ops       []string // what was written, and "flush"
	deadlines int      // how often the write deadline was set
	full      int      // after so many writes the client is gone; 0: never
}

var errGone = errors.New("the client is gone")

func newTape() *tape { return &tape{header: http.Header{}} }

func (t *tape) Header() http.Header { return t.header }

func (t *tape) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
}

func (t *tape) Write(p []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if t.full > 0 && t.writes() >= t.full {
		return 0, errGone
	}
	t.ops = append(t.ops, string(p))
	return len(p), nil
}

func (t *tape) writes() (n int) {
	for _, op := range t.ops {
		if op != "flush" {
			n++
		}
	}
	return n
}

func (t *tape) FlushError() error { t.ops = append(t.ops, "flush"); return nil }

func (t *tape) SetWriteDeadline(time.Time) error { t.deadlines++; return nil }

func (t *tape) SetReadDeadline(time.Time) error { return nil }

// text is all that was written.
func (t *tape) text() string {
	var b strings.Builder
	for _, op := range t.ops {
		if op != "flush" {
			b.WriteString(op)
		}
	}
	return b.String()
}

// play serves one call with the good key and returns what reached the client. Headers are names and values in turn.
func (w *world) play(t *tape, method, path, body string, headers ...string) *tape {
	w.tb.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.URL.Host, r.URL.Scheme = "", ""
	r.Header.Set("Authorization", "Bearer "+good)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w.ServeHTTP(t, r.WithContext(w.tb.Context()))
	return t
}

// chat plays one chat.
func (w *world) chat(t *tape, headers ...string) *tape {
	w.tb.Helper()
	return w.play(t, http.MethodPost, "/v1/chat/completions", chat, headers...)
}
