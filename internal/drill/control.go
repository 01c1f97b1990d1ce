package drill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/usage"
)

// A control is the control plane of the drill's own Penstock. What is seen of it is what operators see.
type control struct {
	base, secret string
	http         *http.Client
}

func newControl(base, keyFile string) (*control, error) {
	b, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the default transport is one
	t.Proxy = nil
	return &control{base + "/admin/v1", strings.TrimSpace(string(b)), &http.Client{Transport: t, Timeout: time.Minute}}, nil
}

func (c *control) put(ctx context.Context, path string, in any) error {
	return c.do(ctx, http.MethodPut, path, in, nil)
}

// do sends a request and decodes the answer into out, unless that is nil.
func (c *control) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		_, message := errorIn(b)
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, message)
	case out == nil:
		return nil
	}
	return json.Unmarshal(b, out)
}

// key makes a project and gives its key.
func (c *control) key(ctx context.Context) (string, error) {
	if err := c.do(ctx, http.MethodPost, "/projects", admin.ProjectInput{Name: "drill"}, nil); err != nil {
		return "", err
	}
	var key admin.NewKey
	err := c.do(ctx, http.MethodPost, "/keys", admin.KeyInput{Project: "drill", Name: "drill"}, &key)
	return key.Key, err
}

// records are all that there are, once the store has them.
func (c *control) records(ctx context.Context) (all []*usage.Record, err error) {
	for after := ""; ; {
		var p struct {
			Data []*usage.Record `json:"data"`
			Next string          `json:"next"`
		}
		if err := c.do(ctx, http.MethodGet, "/exchanges?limit=1000&after="+after, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Data...)
		if p.Next == "" {
			return all, nil
		}
		after = p.Next
	}
}

// A watch looks at how the model's targets are, several times a second.
type watch struct {
	admin *control
	model string

	mu     sync.Mutex // guards the fields below
	states map[string]string
	turns  []Turn
}

// A Turn is when a target was seen to be otherwise than before.
type Turn struct {
	AtSeconds float64 `json:"at_seconds"` // from the start of the load
	Target    string  `json:"target"`
	State     string  `json:"state"` // healthy, ramping, half_open or ejected
	Reason    string  `json:"reason,omitzero"`
}

func newWatch(c *control, model string) *watch {
	return &watch{admin: c, model: model, states: map[string]string{}}
}

// lookEvery is how exact the times of turns are.
const lookEvery = 100 * time.Millisecond

func (w *watch) run(ctx context.Context, begun time.Time) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look(ctx, begun)
		}
	}
}

func (w *watch) look(ctx context.Context, begun time.Time) {
	var page struct {
		Data []admin.Route `json:"data"`
	}
	if err := w.admin.do(ctx, http.MethodGet, "/routes", nil, &page); err != nil {
		return // it is looked at again
	}
	at := time.Since(begun)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range page.Data {
		if r.Model != w.model {
			continue
		}
		for _, t := range r.Targets {
			before, ok := w.states[t.Target]
			if w.states[t.Target] = t.Health.State; before == t.Health.State || (!ok && t.Health.State == "healthy") {
				continue
			}
			w.turns = append(w.turns, Turn{seconds(at), t.Target, t.Health.State, t.Health.Reason})
		}
	}
}

func (w *watch) seen() []Turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Turn{}, w.turns...)
}

// seconds is a duration for a report, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
