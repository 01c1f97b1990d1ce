//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An answer is what a client got.
type answer struct {
	status int // 0: there was none
	header http.Header
	body   []byte // as far as it came
	err    error  // of the network
	whole  bool   // the client was given all of an answer: a stream had its clean end
	took   time.Duration
}

// String says what it was, shortly.
func (a answer) String() string {
	return fmt.Sprintf("status %d, %s, error %v", a.status, a.body[:min(len(a.body), 400)], a.err)
}

// ended reports whether the body is one that ends as it should.
func (a answer) ended() bool {
	return a.err == nil && (!a.streamed() || bytes.HasSuffix(a.body, []byte("data: [DONE]\n\n")))
}

func (a answer) streamed() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream")
}

// code is the code of an error, "" if it is none.
func (a answer) code() string {
	var e struct{ Error struct{ Code string } }
	text := a.body
	if a.streamed() {
		at := bytes.LastIndex(text, []byte("data: "))
		if at < 0 {
			return ""
		}
		text = text[at+len("data: "):]
	}
	_ = json.Unmarshal(text, &e) // what is no error has no code
	return e.Error.Code
}

func (a answer) id() string     { return a.header.Get("X-Request-Id") }
func (a answer) target() string { return a.header.Get("X-Penstock-Target") }

// A call is a request for a chat completion.
type call struct {
	model  string
	stream bool
	prompt string                  // "": something short
	most   int                     // the cap on generated tokens, 0 for none
	header map[string]string       // further ones
	client *http.Client            // nil: the world's
	seen   func(soFar []byte) bool // called as the body comes; false leaves
}

func (c call) body() []byte {
	if c.prompt == "" {
		c.prompt = "hello"
	}
	body := map[string]any{"model": c.model, "stream": c.stream, "messages": []any{map[string]any{"role": "user", "content": c.prompt}}}
	if c.most > 0 {
		body["max_tokens"] = c.most
	}
	text, _ := json.Marshal(body) // texts always encode
	return text
}

// chat makes a call and reads its answer to the end.
func (w *world) chat(ctx context.Context, c call) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/chat/completions", bytes.NewReader(c.body()))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	client := c.client
	if client == nil {
		client = w.http
	}
	return do(client, req, c.seen)
}

func do(client *http.Client, req *http.Request, seen func([]byte) bool) answer {
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err, took: time.Since(begun), header: http.Header{}}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	buf := make([]byte, 16<<10)
	for {
		n, err := resp.Body.Read(buf)
		a.body = append(a.body, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err == nil && seen != nil && !seen(a.body) {
			err = context.Canceled
		}
		if err != nil {
			a.err = err
			break
		}
	}
	a.took, a.whole = time.Since(begun), a.status == http.StatusOK && a.ended()
	return a
}

// get reads a URL with a key, "" for none.
func (w *world) get(target, key string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return answer{err: err}
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return do(w.http, req, nil)
}

// must is chat for a call that has to succeed.
func (w *world) must(c call) answer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := w.chat(ctx, c)
	if !a.whole {
		w.t.Fatalf("%s: %s", c.model, a)
	}
	return a
}

// A fleet are clients that call without a pause.
type fleet struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu  sync.Mutex // guards the fields below
	all []answer   // whole ones without their bodies
}

// drive starts n clients. Each takes the calls that next gives; next is called by all of them. A client whose call failed
// waits for a moment.
func (w *world) drive(n int, next func(client, turn int) call) *fleet {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{stop: cancel}
	for client := range n {
		f.done.Go(func() {
			for turn := 0; ctx.Err() == nil; turn++ {
				a := w.chat(ctx, next(client, turn))
				if ctx.Err() != nil {
					return
				}
				f.note(a)
				if !a.whole {
					pause(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	return f
}

func (f *fleet) note(a answer) {
	if a.whole {
		a.body = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, a)
}

// home ends the fleet and gives what it got. A call that is under way is left, and counts for nothing.
func (f *fleet) home() []answer {
	f.stop()
	f.done.Wait()
	return f.soFar()
}

func (f *fleet) soFar() []answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]answer(nil), f.all...)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// count counts.
func count(all []answer, which func(answer) bool) int {
	n := 0
	for _, a := range all {
		if which(a) {
			n++
		}
	}
	return n
}
