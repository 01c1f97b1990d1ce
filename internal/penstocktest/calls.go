package penstocktest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
)

// Admin calls the control plane and decodes the answer into out. With in nil it sends no body; out may be nil. It gives the
// status.
func (e *Env) Admin(method, path string, in, out any) int {
	e.T.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			e.T.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, e.AdminURL+"/admin/v1"+path, bytes.NewReader(body))
	if err != nil {
		e.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.AdminKey)
	resp, err := e.Client.Do(req)
	if err != nil {
		e.T.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.T.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			e.T.Fatalf("%s %s answered %d: %s", method, path, resp.StatusCode, answer)
		}
	}
	return resp.StatusCode
}

// Key makes a project, if it is new, and a key in it. Globs narrow the key to models.
func (e *Env) Key(project string, globs ...string) string {
	e.T.Helper()
	e.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: project}, nil) // 409 if it is there already
	var key admin.NewKey
	if status := e.Admin(http.MethodPost, "/keys", admin.KeyInput{Project: project, Models: globs}, &key); status != http.StatusCreated {
		e.T.Fatalf("no key for %s: status %d", project, status)
	}
	return key.Key
}

// Price gives a target the prices of [Fast].
func (e *Env) Price(targets ...string) {
	e.T.Helper()
	var in admin.PricesInput
	for _, t := range targets {
		in.Data = append(in.Data, admin.PriceInput{Target: t, Input: "1", CachedInput: "0.5", Output: "4"})
	}
	if status := e.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		e.T.Fatalf("prices: status %d", status)
	}
}

// An Answer is what came back from the data plane.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // of reading the body
}

// Text is the body.
func (a Answer) Text() string { return string(a.Body) }

// ID is the exchange's id.
func (a Answer) ID() string { return a.Header.Get("X-Request-Id") }

// Post sends a body to the data plane. Headers are names and values in turn.
func (e *Env) Post(key, path, body string, headers ...string) Answer {
	e.T.Helper()
	return e.Do(http.MethodPost, key, path, body, headers...)
}

// Do sends a request to the data plane. Key "" sends none.
func (e *Env) Do(method, key, path, body string, headers ...string) Answer {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := e.Ask(ctx, method, key, path, body, headers...)
	if err != nil {
		return Answer{Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: b, Err: err}
}

// Ask is Do for a test that reads the answer as it comes, or leaves before its end. The body must be closed.
func (e *Env) Ask(ctx context.Context, method, key, path, body string, headers ...string) (*http.Response, error) {
	e.T.Helper()
	req, err := http.NewRequestWithContext(ctx, method, e.URL+path, strings.NewReader(body))
	if err != nil {
		e.T.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return e.Client.Do(req)
}

// Metric sums the samples of a metric, over all of its labels.
func (e *Env) Metric(name string) float64 {
	e.T.Helper()
	return e.sums(name)[0]
}

// sums is Metric for several, all of one moment.
func (e *Env) sums(names ...string) []float64 {
	e.T.Helper()
	sums := make([]float64, len(names))
	for line := range strings.Lines(e.Metrics()) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		family, _, _ := strings.Cut(series, "{")
		i := slices.Index(names, family)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			e.T.Fatal(err)
		}
		sums[i] += n
	}
	return sums
}

// Metrics is all that the control plane says of itself.
func (e *Env) Metrics() string {
	e.T.Helper()
	req, err := http.NewRequest(http.MethodGet, e.AdminURL+"/metrics", nil)
	if err != nil {
		e.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.AdminKey)
	resp, err := e.Client.Do(req)
	if err != nil {
		e.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		e.T.Fatalf("metrics: status %d, %v", resp.StatusCode, err)
	}
	return string(text)
}

// held are the metrics of what an open request holds.
var held = []string{"penstock_open_requests", "penstock_held_body_bytes", "penstock_in_flight"}

// AtRest waits until no request is open, and fails the test if anything is still held then.
func (e *Env) AtRest() {
	e.T.Helper()
	if !Eventually(func() bool { return !slices.ContainsFunc(e.sums(held...), func(n float64) bool { return n != 0 }) }) {
		e.T.Errorf("at rest, %v are %v", held, e.sums(held...))
	}
}

// Eventually waits, ten seconds at most, for something that no channel tells.
func Eventually(is func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}

// Chat is the body of a chat with one user message.
func Chat(model, text string, stream bool) string {
	b, err := json.Marshal(map[string]any{
		"model": model, "stream": stream, "messages": []map[string]string{{"role": "user", "content": text}},
	}, json.Deterministic(true))
	if err != nil {
		panic(err) // strings and booleans always encode
	}
	return string(b)
}
