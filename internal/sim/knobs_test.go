package sim_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

// A knobCase says what a client must see of a knob. Knobs of time are in time_test.go.
type knobCase struct {
	do     string
	stream bool
	check  func(t *testing.T, g got, s transcript)
}

// is reports what is not as it should be.
func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

var knobCases = []knobCase{
	{"status=503", false, func(t *testing.T, g got, _ transcript) {
		is(t, "status", g.status, 503)
		is(t, "type", g.plain(t).Error.Type, "server_error")
	}},
	{"status=drop", false, func(t *testing.T, g got, _ transcript) { is(t, "EOF", errors.Is(g.err, io.EOF), true) }},
	{"status=rst", true, func(t *testing.T, g got, _ transcript) {
		is(t, "reset", errors.Is(g.err, syscall.ECONNRESET), true)
	}},
	{"status=429&retry_after=1000000000&code=slow_down&message=wait", true, func(t *testing.T, g got, _ transcript) {
		e := g.plain(t).Error
		is(t, "Retry-After", g.header.Get("Retry-After"), "1000000000")
		is(t, "code", *e.Code, "slow_down")
		is(t, "message", e.Message, "wait")
		is(t, "type", e.Type, "rate_limit_error")
	}},
	{"status=503&retry_after=Fri, 31 Dec 2027 23:59:59 GMT", false, func(t *testing.T, g got, _ transcript) {
		is(t, "Retry-After", g.header.Get("Retry-After"), "Fri, 31 Dec 2027 23:59:59 GMT")
	}},
	{"status=500&leak=1&tag=any", false, func(t *testing.T, g got, _ transcript) {
		is(t, "leaks", strings.Contains(g.body, "sk-sim-0123456789abcdef"), true)
	}},
	{"header=X-A: b%26c&header=Set-Cookie: d", false, func(t *testing.T, g got, _ transcript) {
		is(t, "X-A", g.header.Get("X-A"), "b&c")
		is(t, "Set-Cookie", g.header.Get("Set-Cookie"), "d")
	}},
	{"redirect=http://127.0.0.1:1/a?b", false, func(t *testing.T, g got, _ transcript) {
		is(t, "status", g.status, http.StatusTemporaryRedirect)
		is(t, "Location", g.header.Get("Location"), "http://127.0.0.1:1/a?b")
	}},
	{"html=1", true, func(t *testing.T, g got, _ transcript) {
		is(t, "status", g.status, 200)
		is(t, "type", g.header.Get("Content-Type"), "text/html")
		is(t, "page", strings.HasPrefix(g.body, "<html>"), true)
	}},
	{"html=1&status=502", false, func(t *testing.T, g got, _ transcript) {
		is(t, "status", g.status, 502)
		is(t, "page", strings.Contains(g.body, "<h1>502 Bad Gateway</h1>"), true)
	}},
	{"empty=1", false, func(t *testing.T, g got, _ transcript) { is(t, "body", g.body, ""); is(t, "status", g.status, 200) }},
	{"empty=1", true, func(t *testing.T, g got, _ transcript) { is(t, "body", g.body, ""); is(t, "error", g.err, nil) }},
	{"pad=100000", false, func(t *testing.T, g got, _ transcript) {
		is(t, "size", len(g.body) > 100000, true)
		is(t, "words", len(strings.Fields(g.said(t))), 8)
	}},
	{"encoding=gzip", false, func(t *testing.T, g got, _ transcript) {
		is(t, "encoding", g.header.Get("Content-Encoding"), "gzip")
		is(t, "words", len(strings.Fields(got{body: unzip(t, g.body)}.said(t))), 8)
	}},
	{"encoding=gzip", true, func(t *testing.T, g got, _ transcript) {
		s := got{body: unzip(t, g.body)}.stream()
		is(t, "contents", s.contents(), 8)
		is(t, "done", s.done, true)
	}},
	{"encoding=gzip-hidden", false, func(t *testing.T, g got, _ transcript) {
		is(t, "encoding", g.header.Get("Content-Encoding"), "")
		is(t, "JSON", strings.HasPrefix(unzip(t, g.body), "{"), true)
	}},
	{"encoding=br-lie", true, func(t *testing.T, g got, s transcript) {
		is(t, "encoding", g.header.Get("Content-Encoding"), "br")
		is(t, "contents", s.contents(), 8)
	}},
	{"plain_for_stream=1", true, func(t *testing.T, g got, _ transcript) {
		is(t, "type", g.header.Get("Content-Type"), "application/json")
		is(t, "object", g.plain(t).Object, "chat.completion")
	}},
	{"sse_for_plain=1", false, func(t *testing.T, g got, s transcript) {
		is(t, "type", strings.HasPrefix(g.header.Get("Content-Type"), "text/event-stream"), true)
		is(t, "contents", s.contents(), 8)
	}},
	{"events=50", true, func(t *testing.T, _ got, s transcript) { is(t, "contents", s.contents(), 50) }},
	{"events=10&per_event=4", true, func(t *testing.T, _ got, s transcript) {
		is(t, "contents", s.contents(), 3)
		is(t, "tokens", s.usages()[0].Completion, 10)
	}},
	{"reasoning=3", true, func(t *testing.T, _ got, s transcript) {
		is(t, "reasons", s.chunks[1].Choices[0].Delta.Reasoning != "", true)
		is(t, "tokens", s.usages()[0].Output.Reasoning, 3)
		is(t, "all tokens", s.usages()[0].Completion, 11)
	}},
	{"reasoning_content=3", false, func(t *testing.T, g got, _ transcript) {
		is(t, "reasons", len(strings.Fields(g.plain(t).Choices[0].Message.ReasoningContent)), 3)
	}},
	{"hidden_reasoning=30", false, func(t *testing.T, g got, _ transcript) {
		is(t, "tokens", g.plain(t).Usage.Output.Reasoning, 30)
		is(t, "all tokens", g.plain(t).Usage.Completion, 38)
	}},
	{"finish=content_filter", true, func(t *testing.T, _ got, s transcript) { is(t, "finish", s.finish(), "content_filter") }},
	{"refusal=1", false, func(t *testing.T, g got, _ transcript) {
		m := g.plain(t).Choices[0].Message
		is(t, "content", m.Content, nil)
		is(t, "refusal", m.Refusal != nil && *m.Refusal != "", true)
	}},
	{"nullcontent=1", false, func(t *testing.T, g got, _ transcript) { is(t, "content", g.plain(t).Choices[0].Message.Content, nil) }},
	{"nullcontent=1", true, func(t *testing.T, _ got, s transcript) {
		is(t, "contents", s.contents(), 0)
		is(t, "done", s.done, true)
	}},
	{"big_event=1000000", true, func(t *testing.T, _ got, s transcript) { is(t, "size", len(s.text(0)) > 1000000, true) }},
	{"invalid_utf8=2", true, func(t *testing.T, g got, s transcript) {
		is(t, "all valid", utf8.ValidString(g.body), false)
		is(t, "first valid", utf8.ValidString(s.events[1]), true)
		is(t, "second valid", utf8.ValidString(s.events[2]), false)
	}},
	{"invalid_utf8=2", false, func(t *testing.T, g got, _ transcript) { is(t, "valid", utf8.ValidString(g.body), false) }},
	{"garbage=2", true, func(t *testing.T, _ got, s transcript) {
		is(t, "broken", s.broken, 1)
		is(t, "contents", s.contents(), 7)
	}},
	{"garbage=1", false, func(t *testing.T, g got, _ transcript) { is(t, "broken", strings.HasSuffix(g.body, "}"), false) }},
	{"unknown_event=2", true, func(t *testing.T, _ got, s transcript) {
		is(t, "name", s.names[3], "simulator.notice")
		is(t, "contents", s.contents(), 8)
	}},
	{"error_at=3", true, func(t *testing.T, g got, s transcript) {
		is(t, "contents", s.contents(), 3)
		is(t, "error", s.chunks[len(s.chunks)-1].Error != nil, true)
		is(t, "done", s.done, false)
		is(t, "read error", g.err, nil)
	}},
	{"error_at=0&no_role=1", true, func(t *testing.T, _ got, s transcript) { is(t, "error first", s.chunks[0].Error != nil, true) }},
	{"error_at=1", false, func(t *testing.T, g got, _ transcript) {
		is(t, "status", g.status, 200)
		is(t, "error", g.plain(t).Error != nil, true)
	}},
	{"cut=3", true, func(t *testing.T, g got, s transcript) {
		is(t, "contents", s.contents(), 3)
		is(t, "cut", errors.Is(g.err, io.ErrUnexpectedEOF), true)
	}},
	{"cut=0:rst", true, func(t *testing.T, g got, s transcript) {
		is(t, "contents", s.contents(), 0)
		is(t, "reset", errors.Is(g.err, syscall.ECONNRESET), true)
	}},
	{"cut=1", false, func(t *testing.T, g got, _ transcript) {
		is(t, "some", g.body != "", true)
		is(t, "cut", errors.Is(g.err, io.ErrUnexpectedEOF), true)
	}},
	{"cut_bytes=7", true, func(t *testing.T, g got, _ transcript) {
		is(t, "body", g.body, `data: {`)
		is(t, "cut", g.err != nil, true)
	}},
	{"cut_bytes=0", false, func(t *testing.T, g got, _ transcript) {
		is(t, "body", g.body, "")
		is(t, "status", g.status, 200)
		is(t, "cut", g.err != nil, true)
	}},
	{"comments=1", true, func(t *testing.T, _ got, s transcript) { is(t, "comments", s.comments, len(s.events)+1) }},
	{"comments=only", true, func(t *testing.T, g got, s transcript) {
		is(t, "comments", s.comments, 5)
		is(t, "events", len(s.events), 0)
		is(t, "error", g.err, nil)
	}},
	{"crlf=1", true, func(t *testing.T, g got, s transcript) {
		is(t, "bare line feeds", strings.Count(g.body, "\n")-strings.Count(g.body, "\r\n"), 0)
		is(t, "contents", s.contents(), 8)
	}},
	{"tight=1", true, func(t *testing.T, g got, s transcript) {
		is(t, "spaces", strings.Contains(g.body, "data: "), false)
		is(t, "done", s.done, true)
	}},
	{"multiline=1", true, func(t *testing.T, g got, s transcript) {
		is(t, "spread", strings.HasPrefix(g.body, "data: {\ndata: "), true)
		is(t, "contents", s.contents(), 8)
	}},
	{"named_events=1", true, func(t *testing.T, g got, s transcript) {
		is(t, "id", strings.HasPrefix(g.body, "id: 1\n"), true)
		is(t, "name", s.names[0], "message")
	}},
	{"no_role=1", true, func(t *testing.T, _ got, s transcript) { is(t, "role", s.chunks[0].Choices[0].Delta.Role, "") }},
	{"no_finish=1", true, func(t *testing.T, _ got, s transcript) { is(t, "finish", s.finish(), ""); is(t, "done", s.done, true) }},
	{"no_done=1", true, func(t *testing.T, g got, s transcript) {
		is(t, "done", s.done, false)
		is(t, "finish", s.finish(), "stop")
		is(t, "error", g.err, nil)
	}},
	{"azure=1", true, func(t *testing.T, _ got, s transcript) {
		is(t, "choices", len(s.chunks[0].Choices), 0)
		is(t, "id", s.chunks[0].ID, "")
	}},
	{"flush=1", true, func(t *testing.T, _ got, s transcript) { is(t, "contents", s.contents(), 8) }},
	{"bytewise=1&events=2", true, func(t *testing.T, _ got, s transcript) { is(t, "contents", s.contents(), 2) }},
	{"chunks=3,17,1", true, func(t *testing.T, _ got, s transcript) {
		is(t, "contents", s.contents(), 8)
		is(t, "done", s.done, true)
	}},
	{"early_headers=1", true, func(t *testing.T, _ got, s transcript) { is(t, "role", s.chunks[0].Choices[0].Delta.Role, "assistant") }},
}

// elsewhere are knobs with tests of their own.
var elsewhere = []string{"plan", "bill", "first", "gap", "stall", "ping", "drip", "usage", "cached", "tool_calls", "shape", "ignore_format", "deaf",
	"written", "hour", "untold", "heard", "spoken", "pictures", "searches"}

func TestKnobs(t *testing.T) {
	t.Parallel()
	alone, behindFront := setup(t, simtest.Config()), setup(t, fastConfig())
	tested := strings.Join(elsewhere, "= ") + "="
	for _, c := range knobCases {
		tested += " " + strings.ReplaceAll(c.do, "&", " ")
		t.Run(c.do, func(t *testing.T) {
			for _, b := range []*bench{alone, behindFront} {
				g := b.chat(c.do, c.stream)
				c.check(t, g, g.stream())
			}
		})
	}
	for _, k := range sim.Knobs() {
		if !strings.Contains(" "+tested, " "+k.Name+"=") {
			t.Errorf("the knob %s has no test", k.Name)
		}
	}
}

func TestWellBehavedWithoutKnobs(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	g := b.chat("", true)
	s := g.stream()
	is(t, "status", g.status, 200)
	is(t, "error", g.err, nil)
	is(t, "broken events", s.broken, 0)
	is(t, "events", len(s.events), 1+8+1+1)
	is(t, "role", s.chunks[0].Choices[0].Delta.Role, "assistant")
	is(t, "finish", s.finish(), "stop")
	is(t, "choices of the usage event", len(s.chunks[10].Choices), 0)
	is(t, "usages", len(s.usages()), 1)
	is(t, "usage", s.usages()[0].Total, int64(3+8))
	is(t, "null usage", strings.Contains(s.events[0], `"usage":null`), true)
	is(t, "done", s.done, true)
	is(t, "id", s.chunks[0].ID, s.chunks[10].ID)
	is(t, "request id", g.header.Get("X-Request-Id"), b.last().ID)

	g = b.chat("", false)
	is(t, "words", len(strings.Fields(g.said(t))), 8)
	is(t, "model", g.plain(t).Model, simtest.Model)
	is(t, "usage", g.plain(t).Usage.Total, int64(3+8))

	g = b.post(t.Context(), "/v1/chat/completions", `{"model":"gpt-x","messages":[{"role":"user","content":"hi"}],"stream":true}`)
	is(t, "usage that nobody asked for", strings.Contains(g.body, "usage"), false)
}

func TestPlanGoesByTheNumberOfTheCall(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	const do = "plan=503,429,200&retry_after=2,5"
	for i, want := range []struct {
		status int
		after  string
	}{{503, "2"}, {429, "5"}, {200, ""}, {200, ""}} {
		g := b.chat(do, i%2 == 0)
		is(t, "status", g.status, want.status)
		is(t, "Retry-After", g.header.Get("Retry-After"), want.after)
	}
	is(t, "another tag has a plan of its own", b.chat(do+"&tag=x", false).status, 503)
	b.sim.Reset()
	is(t, "after a reset", b.chat(do, false).status, 503)
	is(t, "by header", b.post(t.Context(), "/v1/chat/completions", chatBody("", false), sim.KnobHeader, "status=418").status, 418)
}

func TestWrongKnobsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	for _, do := range []string{
		"nope=1", "status=999", "status=x", "plan=503,", "events=-1", "events=x", "stall=x", "stall=1:x", "cut=1:fin", "cached=2",
		"usage=odd", "shape=odd", "crlf=2", "first=abc", "first=lognormal(1s)", "gap=uniform(2s,1s)", "chunks=0", "encoding=zip",
		"header=x", "tag=%zz", "%zz=1", "comments=2", "ping=-1s", "cut_bytes=x", "bill=x", "reasoning=x",
	} {
		g := b.chat(do, false)
		is(t, do+" status", g.status, 400)
		if err := sim.CheckKnobs(do); err == nil || !strings.Contains(g.plain(t).Error.Message, err.Error()) {
			t.Errorf("%s: %v, and the call says %s", do, err, g.body)
		}
	}
	is(t, "calls billed", b.bill().Total.Cost, 0)
}
