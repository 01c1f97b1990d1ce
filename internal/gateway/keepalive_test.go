package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// The streams of three dialects, by their routes.
var streamed = map[string]struct{ body, sign string }{
	"/v1/chat/completions": {`{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`, ": keep-alive\n\n"},
	"/v1/responses":        {`{"model":"m","stream":true,"input":"hello"}`, ": keep-alive\n\n"},
	"/v1/messages":         {`{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`, "event: ping\ndata: {\"type\":\"ping\"}\n\n"},
}

// after answers with a stream when a time has passed.
func after(d time.Duration, resp *llm.Response, err error) pipeline.Handler {
	return func(ctx context.Context, _ *pipeline.Exchange) (*llm.Response, error) {
		select {
		case <-time.After(d):
			return resp, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TestFault27KeepAlive: 90 s without a token are 5 signs of life, each whole and flushed, before the first event and in no other
// place; the head of the stream went out with the first.
func TestFault27KeepAlive(t *testing.T) {
	t.Parallel()
	for path, c := range streamed {
		synctest.Test(t, func(t *testing.T) {
			w := unheard(t, after(90*time.Second+time.Millisecond, events(true, chunk("1", false), done), nil))
			begun := time.Now()
			out := w.play(newTape(), http.MethodPost, path, c.body)
			x := <-w.last
			if took := time.Since(begun); took != 90*time.Second+time.Millisecond || !x.Begun.Load() {
				t.Errorf("%s: took %v, begun %v", path, took, x.Begun.Load())
			}
			rest, ok := strings.CutPrefix(out.text(), strings.Repeat(c.sign, 6))
			if !ok || strings.Contains(rest, c.sign) || rest == "" {
				t.Errorf("%s: %q", path, out.text())
			}
			for i := 0; i < 12; i += 2 {
				if out.ops[i] != c.sign || out.ops[i+1] != "flush" {
					t.Errorf("%s: %q, then %q", path, out.ops[i], out.ops[i+1])
				}
			}
			if out.status != http.StatusOK || !strings.HasPrefix(out.header.Get("Content-Type"), "text/event-stream") || out.header.Get("X-Accel-Buffering") != "no" || out.header.Get("X-Request-Id") == "" {
				t.Errorf("%s: %d %v", path, out.status, out.header)
			}
		})
	}
}

// TestKeepAliveNever: not before its time, not in plain answers, not if it is off, and not for what is no stream.
func TestKeepAliveNever(t *testing.T) {
	t.Parallel()
	plain := strings.Replace(streamed["/v1/chat/completions"].body, `"stream":true,`, "", 1)
	for name, c := range map[string]struct {
		body   string
		stream bool
		wait   time.Duration
		every  time.Duration
	}{
		"in time":    {streamed["/v1/chat/completions"].body, true, 15*time.Second - 1, 15 * time.Second},
		"off":        {streamed["/v1/chat/completions"].body, true, time.Hour, 0},
		"plain":      {plain, false, time.Hour, 15 * time.Second},
		"every hour": {streamed["/v1/chat/completions"].body, true, 59 * time.Minute, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				resp := events(c.stream, llm.Event{Has: llm.Content | llm.End, Raw: []byte(`{"id":1}`)})
				w := unheard(t, after(c.wait, resp, nil), func(l *Limits) { l.Keepalive = c.every })
				out := w.play(newTape(), http.MethodPost, "/v1/chat/completions", c.body)
				if strings.Contains(out.text(), ":keep") || strings.Contains(out.text(), ": keep") || (<-w.last).Begun.Load() || out.header.Get("X-Penstock-Target") == "" {
					t.Errorf("%q %v", out.text(), out.header)
				}
			})
		})
	}
}

// TestKeepAliveThenFailure: after a sign of life an error is the dialect's event, and no clean end follows; the record has the
// status that the client saw.
func TestKeepAliveThenFailure(t *testing.T) {
	t.Parallel()
	for path, c := range streamed {
		synctest.Test(t, func(t *testing.T) {
			w := unheard(t, after(20*time.Second, nil, fault.New(fault.ProviderFailed, "Nobody answered.")))
			out := w.play(newTape(), http.MethodPost, path, c.body)
			rest, ok := strings.CutPrefix(out.text(), c.sign)
			if !ok || out.status != http.StatusOK || !strings.Contains(rest, "Nobody answered.") || !strings.Contains(rest, "data: ") || strings.Contains(rest, "[DONE]") {
				t.Errorf("%s: %d %q", path, out.status, out.text())
			}
			w = unheard(t, after(10*time.Second, nil, fault.New(fault.ProviderFailed, "Nobody answered.")))
			if out = w.play(newTape(), http.MethodPost, path, c.body); out.status != http.StatusBadGateway || strings.Contains(out.text(), c.sign) {
				t.Errorf("%s: %d %q", path, out.status, out.text())
			}
		})
	}
}

// TestKeepAliveBetweenEvents is promise S4 for any times between events: a sign of life is only where an event could be, what
// remains without them is the answer, and the client never waits for longer than the interval for anything.
func TestKeepAliveBetweenEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			wait time.Duration
			more bool
		}
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{time.Duration(rapid.SampledFrom([]int{0, 0, 1, 14, 15, 16, 44, 90}).Draw(t, "seconds"))*time.Second + time.Duration(rapid.IntRange(0, 999).Draw(t, "ms"))*time.Millisecond, rapid.Bool().Draw(t, "more")}
		}), 1, 12).Draw(rt, "steps")
		first := time.Duration(rapid.IntRange(0, 40000).Draw(rt, "first")) * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			want := ""
			w := unheard(t, after(first, response(true, func(yield func(llm.Event, error) bool) {
				for i, s := range steps {
					if !yield(chunk(fmt.Sprint(i), s.more && s.wait == 0), nil) {
						return
					}
					time.Sleep(s.wait)
				}
				yield(done, nil)
			}), nil))
			out := &timed{tape: newTape(), last: time.Now()}
			r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(streamed["/v1/chat/completions"].body))
			r.URL.Host, r.URL.Scheme = "", ""
			r.Header.Set("Authorization", "Bearer "+good)
			w.ServeHTTP(out, r)
			for i := range steps {
				want += "data: " + fmt.Sprint(i) + "\n\n"
			}
			got := out.text()
			for event := range strings.SplitSeq(got, "\n\n") {
				if strings.Contains(event, "keep") && event != ": keep-alive" {
					rt.Errorf("inside of an event: %q", event)
				}
			}
			if strings.ReplaceAll(got, ": keep-alive\n\n", "") != want+"data: [DONE]\n\n" {
				rt.Errorf("%q", got)
			}
			if out.most > 15*time.Second+time.Second {
				rt.Errorf("the client waited for %v", out.most)
			}
		})
	})
}

// A timed tape knows how long its client waited for anything.
type timed struct {
	*tape
	last time.Time
	most time.Duration
}

func (t *timed) Write(p []byte) (int, error) {
	t.most = max(t.most, time.Since(t.last))
	t.last = time.Now()
	return t.tape.Write(p)
}

// TestKeepAliveToAClientThatIsGone: its exchange ends as ever, and nothing is left behind.
func TestKeepAliveToAClientThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := newTape()
		out.full = 1
		w := unheard(t, after(time.Minute, events(true, chunk("1", false), done), nil))
		w.play(out, http.MethodPost, "/v1/chat/completions", streamed["/v1/chat/completions"].body)
		if out.text() != ": keep-alive\n\n" {
			t.Errorf("%q", out.text())
		}
	})
}
