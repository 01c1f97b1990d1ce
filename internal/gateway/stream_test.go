package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// chunk is an event with content; more says that the next one is there already.
func chunk(text string, more bool) llm.Event {
	return llm.Event{Has: llm.Content, Dialect: llm.OpenAI, Raw: []byte(text), More: more}
}

var done = llm.Event{Has: llm.End, Dialect: llm.OpenAI, Raw: []byte("[DONE]")}

// streaming answers with a stream.
func streaming(list ...llm.Event) pipeline.Handler {
	return func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return events(true, list...), nil }
}

func TestStreamIsFlushedWhenNothingMoreIsThere(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", 2000) + `"`
	for _, c := range []struct {
		name string
		list []llm.Event
		want []string
	}{
		{"one by one", []llm.Event{chunk("1", false), chunk("2", false), done},
			[]string{"data: 1\n\n", "flush", "data: 2\n\n", "flush", "data: [DONE]\n\n"}},
		{"came together", []llm.Event{chunk("1", true), chunk("2", true), chunk("3", false), done},
			[]string{"data: 1\n\ndata: 2\n\ndata: 3\n\n", "flush", "data: [DONE]\n\n"}},
		{"all at once", []llm.Event{chunk("1", true), chunk("2", true), done},
			[]string{"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"}},
		{"more than one buffer", []llm.Event{chunk(long, true), chunk(long, true), chunk(long, false), done},
			[]string{"data: " + long + "\n\ndata: " + long + "\n\n", "data: " + long + "\n\n", "flush", "data: [DONE]\n\n"}},
		{"hidden", []llm.Event{chunk("1", false), {Has: llm.UsageIn | llm.Hidden, Raw: []byte("usage"), More: true}, done},
			[]string{"data: 1\n\n", "flush", "data: [DONE]\n\n"}},
		{"hidden and waiting", []llm.Event{chunk("1", true), {Has: llm.UsageIn | llm.Hidden, Raw: []byte("usage")}, done},
			[]string{"data: 1\n\n", "flush", "data: [DONE]\n\n"}},
		{"usage that was asked for", []llm.Event{{Has: llm.UsageIn, Raw: []byte("usage")}, done},
			[]string{"data: usage\n\n", "flush", "data: [DONE]\n\n"}},
	} {
		got := setup(t, streaming(c.list...)).chat(newTape())
		if !slices.Equal(got.ops, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got.ops, c.want)
		}
	}
}

func TestStreamHeaders(t *testing.T) {
	t.Parallel()
	w := setup(t, func(_ context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		x.Tries = make([]pipeline.Try, 2)
		return events(true, chunk("1", false), done), nil
	})
	got := w.chat(newTape())
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
		"X-Penstock-Target": "provider/m", "X-Penstock-Tries": "2", "X-Penstock-Cost": "", "Content-Length": "",
		"X-Request-Id": (<-w.last).ID,
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.status != 200 {
		t.Errorf("status %d", got.status)
	}
}

func TestAskedForModelIsNamedInEveryEvent(t *testing.T) {
	t.Parallel()
	ev := llm.Event{Has: llm.Content, Raw: []byte(`{"model":"m-2026","n":1}`), ModelAt: llm.Span{Start: 9, End: 17}}
	got := setup(t, streaming(ev, ev, done)).chat(newTape()).text()
	if want := strings.Repeat(`data: {"model":"m","n":1}`+"\n\n", 2) + "data: [DONE]\n\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestAnErrorInMidStreamIsAnEventAndNoCleanEndFollows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"a fault":         {fault.New(fault.StreamCut, "It broke."), `"code":"stream_interrupted"`},
		"a cause, hidden": {errors.New("dial 10.0.0.7"), `"code":"internal_error"`},
	} {
		w := setup(t, func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return response(true, func(yield func(llm.Event, error) bool) {
				if yield(chunk("1", false), nil) {
					yield(llm.Event{}, c.err)
				}
			}), nil
		})
		got := w.chat(newTape()).text()
		if !strings.HasPrefix(got, "data: 1\n\ndata: {\"error\":{") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
		if strings.Contains(got, "[DONE]") || strings.Contains(got, "10.0.0.7") {
			t.Errorf("%s: a clean end, or the cause: %q", name, got)
		}
	}
}

// TestClientThatLeavesEndsTheIteration: to break off is how the upstream learns of it.
func TestClientThatLeavesEndsTheIteration(t *testing.T) {
	t.Parallel()
	asked, ended := 0, false
	w := setup(t, func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
		return response(true, func(yield func(llm.Event, error) bool) {
			defer func() { ended = true }()
			for asked < 100 {
				asked++
				if !yield(chunk("1", false), nil) {
					return
				}
			}
		}), nil
	})
	out := newTape()
	out.full = 2
	w.chat(out)
	if asked != 3 || !ended {
		t.Errorf("%d events were asked for, ended %v", asked, ended)
	}
	w.rest()
}

// TestWriteDeadlineIsRenewed: each setting costs, so it is done a few times in its span only, but never too late.
func TestWriteDeadlineIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return response(true, func(yield func(llm.Event, error) bool) {
				for range 400 {
					if !yield(chunk("1", false), nil) {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
				yield(done, nil)
			}), nil
		}
		c := &call{voice: openaiVoice{}, runtime: &Runtime{Limits: Limits{Write: 40 * time.Second}}}
		resp, _ := h(t.Context(), nil)
		out := newTape()
		c.writeStream(out, &pipeline.Exchange{Request: &llm.Request{}}, resp, nil)
		if out.deadlines < 4 || out.deadlines > 6 {
			t.Errorf("40 s of events with a patience of 40 s: %d settings", out.deadlines)
		}
	})
}

// TestClientThatTakesNothingIsGivenUp, whether it lets a stream or a large plain answer lie.
func TestClientThatTakesNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	large := []byte(`"` + strings.Repeat("x", 32<<20) + `"`)
	for name, h := range map[string]pipeline.Handler{
		"plain": func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return events(false, llm.Event{Has: llm.Content | llm.End, Raw: large}), nil
		},
		"stream": func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			return response(true, func(yield func(llm.Event, error) bool) {
				for yield(chunk(strings.Repeat("x", 64<<10), false), nil) {
				}
			}), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, h, func(l *Limits) { l.Write = 200 * time.Millisecond })
			conn, err := net.Dial("tcp", w.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request("POST", "/v1/chat/completions", chat, "Authorization: Bearer "+good)); err != nil {
				t.Fatal(err)
			}
			<-w.last
			w.rest()
		})
	}
}

// TestConnectionIsUsedAgainAfterAStream: the deadline of a stream must not hit the answer after it.
func TestConnectionIsUsedAgainAfterAStream(t *testing.T) {
	t.Parallel()
	w := setup(t, func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		if x.Request.Stream {
			return events(true, chunk("1", false), done), nil
		}
		<-time.After(150 * time.Millisecond)
		return plain(ctx, x)
	}, func(l *Limits) { l.Write = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	stream := strings.Replace(chat, "{", `{"stream":true,`, 1)
	r := newReader(conn)
	for i, body := range []string{stream, chat, stream, chat} {
		text := request("POST", "/v1/chat/completions", body, "Authorization: Bearer "+good)
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		a, err := readAnswer(r, text)
		if err != nil || a.status != 200 || a.closes {
			t.Fatalf("%d: %v, %+v", i, err, a)
		}
	}
}

func TestDeadlineInMidStream(t *testing.T) {
	t.Parallel()
	w := setup(t, func(ctx context.Context, _ *pipeline.Exchange) (*llm.Response, error) {
		return response(true, func(yield func(llm.Event, error) bool) {
			if yield(chunk("1", false), nil) {
				<-ctx.Done()
				yield(llm.Event{}, fault.From(context.Cause(ctx)))
			}
		}), nil
	})
	got := w.chat(newTape(), "X-Request-Timeout-Ms", "30").text()
	if want := "No answer within your deadline of 30ms (X-Request-Timeout-Ms)."; !strings.Contains(got, want) || strings.Contains(got, "[DONE]") {
		t.Errorf("got %q", got)
	}
}

func TestTriesInTheHeader(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 9, 10, 123} {
		out := newTape()
		new(call).setTries(out, &pipeline.Exchange{Tries: make([]pipeline.Try, n)})
		if got := out.header.Get("X-Penstock-Tries"); got != fmt.Sprint(n) {
			t.Errorf("%d tries: %q", n, got)
		}
	}
}
