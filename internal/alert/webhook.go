package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/secret"
)

// A Webhook is a receiver of alerts: where it is, what messages are signed with, and what they look like. It is
// immutable and safe for concurrent use.
//
// Messages are signed as the Standard Webhooks specification (version 1.0.0) says, so that its libraries can verify them.
type Webhook struct {
	cfg     Config
	resolve func(ref string) (secret.String, error)
	client  *http.Client

	repeat             time.Duration
	instance, runbooks string
}

// NewWebhook makes the receiver of a section, nil if it names none. The references are read now, so that a mistake is
// found at the start or the reload, and again for every message. rt is the way out; redirects are never followed.
func NewWebhook(cfg Config, resolve func(ref string) (secret.String, error), rt http.RoundTripper) (*Webhook, error) {
	if cfg.Webhook == "" {
		return nil, nil
	}
	w := &Webhook{
		cfg: cfg, resolve: resolve, repeat: cfg.Repeat, instance: cfg.Instance, runbooks: cfg.Runbooks,
		client: &http.Client{Transport: rt, Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if w.instance == "" {
		w.instance = hostname()
	}
	if w.runbooks == "" {
		w.runbooks = defaultRunbooks
	}
	_, urlErr := w.url()
	_, keyErr := w.keys()
	if err := errors.Join(urlErr, keyErr); err != nil {
		return nil, err
	}
	return w, nil
}

// sendTimeout bounds one attempt.
const sendTimeout = 10 * time.Second

// url is where messages go. Its errors do not repeat it: it may hold a token.
func (w *Webhook) url() (*url.URL, error) {
	text := w.cfg.Webhook
	if !strings.Contains(text, "://") {
		s, err := w.resolve(text)
		if err != nil {
			return nil, fmt.Errorf("alerts.webhook: %w", err)
		}
		text = s.Reveal()
	}
	if problem := CheckURL(text); problem != "" {
		return nil, errors.New("alerts.webhook: " + problem)
	}
	return url.Parse(text)
}

// CheckURL says what is wrong with the URL of a receiver, "" if nothing is.
func CheckURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "is not a URL"
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "would be told in plain text to another machine"
	case u.Scheme != "https" && u.Scheme != "http":
		return "begins with neither https:// nor http://"
	case u.User != nil:
		return "holds a user or password"
	}
	return ""
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// keys are what messages are signed with, none if they are not.
func (w *Webhook) keys() ([][]byte, error) {
	if w.cfg.Secret == "" {
		return nil, nil
	}
	s, err := w.resolve(w.cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("alerts.secret: %w", err)
	}
	var keys [][]byte
	for _, one := range strings.Fields(s.Reveal()) {
		text, marked := strings.CutPrefix(one, "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if !marked || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New("alerts.secret: is not whsec_ and 24 to 64 bytes in base64; make one with: echo \"whsec_$(openssl rand -base64 32)\"")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// A message is one thing that the receiver is told, until it has taken it.
type message struct {
	id       string // stays the same however often it is sent
	alert    Alert
	made     time.Time
	due      time.Time // when to send it next
	attempts int
}

func newMessage(a Alert, now time.Time) *message {
	return &message{id: "msg_" + ulid.Make().String(), alert: a, made: now, due: now}
}

// body is the message as it is sent.
func (w *Webhook) body(m *message) ([]byte, error) {
	a := m.alert
	if w.cfg.Format == FormatSlack {
		object := ""
		if a.Object != "" {
			object = " " + a.Object
		}
		return json.Marshal(map[string]string{
			"text": fmt.Sprintf("[%s] %s %s%s: %s (%s, %s)", a.State, a.Severity, a.Kind, object, a.Text, a.Instance, a.Runbook),
		}, json.Deterministic(true))
	}
	return json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Alert     `json:",inline"`
	}{"alert." + string(a.State), m.made.UTC().Truncate(time.Millisecond), a})
}

// sign makes the value of webhook-signature: one signature for each key.
func sign(keys [][]byte, id string, at int64, body []byte) string {
	all := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, at, body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}

// A refusal is an answer that is not 2xx.
type refusal struct {
	status int
	after  time.Duration // how long to wait, 0 if the receiver did not say
}

func (r *refusal) Error() string {
	if r.status >= 300 && r.status < 400 {
		return fmt.Sprintf("the receiver answered %d, and redirects are not followed", r.status)
	}
	return fmt.Sprintf("the receiver answered %d", r.status)
}

// send makes one attempt. Its errors name neither the URL nor what the receiver said.
func (w *Webhook) send(ctx context.Context, m *message, now time.Time) error {
	to, err := w.url()
	if err != nil {
		return err
	}
	keys, err := w.keys()
	if err != nil {
		return err
	}
	body, err := w.body(m)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("alerts.webhook: is not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "penstock")
	req.Header.Set("Webhook-Id", m.id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if len(keys) > 0 {
		req.Header.Set("Webhook-Signature", sign(keys, m.id, now.Unix(), body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // it would repeat the URL
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 16<<10)) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return &refusal{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))}
}

// retryAfter reads a number of seconds; a date is not read.
func retryAfter(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, lastRetry)
}

const defaultRunbooks = "docs/reference/alerts.md"

func runbook(base string, kind Kind) string { return base + "#" + string(kind) }

// hostname is the name of the machine, or of the container; it does not change while we run.
var hostname = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
})
