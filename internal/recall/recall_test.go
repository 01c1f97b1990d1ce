package recall

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// answers is a handler that gives these events.
func answers(events ...llm.Event) pipeline.Handler {
	return func(_ context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		if x.Request.DecodeChat != nil {
			if _, err := x.Request.Chat(); err != nil {
				return nil, err
			}
		}
		return &llm.Response{Events: func(yield func(llm.Event, error) bool) {
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
		}}, nil
	}
}

func drain(seq iter.Seq2[llm.Event, error]) (n int) {
	for range seq {
		n++
	}
	return n
}

// thinking is an answer that thinks and calls, in pieces.
func thinking(call string) []llm.Event {
	return []llm.Event{
		{Dialect: llm.Anthropic, Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartReasoning}}, {Text: "h"}}},
		{Dialect: llm.Anthropic, Deltas: []llm.Delta{{Text: "m"}, {Signature: "sig", Close: true}}},
		{Dialect: llm.Anthropic, Deltas: []llm.Delta{{Part: 1, Open: &llm.Part{Kind: llm.PartToolCall, CallID: call, ToolName: "f"}}, {Part: 1, Text: "{}", Signature: "own"}, {Part: 1, Close: true}, {Finish: llm.FinishTools}}},
		{Has: llm.End},
	}
}

func exchangeOf(project string, messages ...llm.Message) *pipeline.Exchange {
	r := &llm.Request{DecodeChat: func([]byte) (*llm.Chat, error) { return &llm.Chat{Messages: messages}, nil }}
	return &pipeline.Exchange{Caller: &pipeline.Caller{Project: project}, Op: llm.OpChat, Request: r, Received: time.Now()}
}

func calling(id string) llm.Message {
	return llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartReasoning, Text: "a copy"}, {Kind: llm.PartToolCall, CallID: id}}}
}

// run asks once and gives the parts of the first message that the provider would be sent.
func run(t *testing.T, m *Memory, x *pipeline.Exchange, events ...llm.Event) []llm.Part {
	t.Helper()
	resp, err := m.Stage()(answers(events...))(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	if n := drain(resp.Events); n != len(events) {
		t.Errorf("%d events of %d", n, len(events))
	}
	c, err := x.Request.Chat()
	if err != nil || len(c.Messages) == 0 {
		return nil
	}
	return c.Messages[0].Parts
}

// Reasoning comes back by the id of the call, in its order and with its proof, and only in the project that it was for.
func TestTrap15ReasoningComesBack(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	run(t, m, exchangeOf("a"), thinking("toolu.1")...)
	x := exchangeOf("a", calling("toolu_1")) // as some dialects tell it
	parts := run(t, m, x)
	if len(parts) != 2 || parts[0].Text != "hm" || parts[0].Signature != "sig" || parts[0].Signer != llm.Anthropic || parts[1].Signature != "own" {
		t.Errorf("%+v", parts)
	}
	if len(x.Decisions) != 1 || !strings.Contains(x.Decisions[0].Decision, "1 turns") {
		t.Errorf("%+v", x.Decisions)
	}
	for name, x := range map[string]*pipeline.Exchange{"another project": exchangeOf("b", calling("toolu_1")), "another call": exchangeOf("a", calling("toolu_2"))} {
		if parts := run(t, m, x); len(parts) != 2 || parts[0].Signature != "" || len(x.Decisions) != 0 {
			t.Errorf("%s: %+v %+v", name, parts, x.Decisions)
		}
	}
	kept := llm.Message{Role: llm.RoleAssistant, Parts: []llm.Part{{Kind: llm.PartReasoning, Text: "mine", Signature: "s"}, {Kind: llm.PartToolCall, CallID: "toolu_1"}}}
	if parts := run(t, m, exchangeOf("a", kept)); len(parts) != 2 || parts[0].Text != "mine" {
		t.Errorf("what the caller kept is not replaced: %+v", parts)
	}
}

func TestItForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Keep: time.Minute})
		run(t, m, exchangeOf("a"), thinking("1")...)
		time.Sleep(59 * time.Second)
		if m.find("a", "1") == nil {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Second)
		if m.find("a", "1") != nil || m.bytes != 0 || m.age.Len() != 0 {
			t.Errorf("%d bytes in %d entries are kept", m.bytes, m.age.Len())
		}
	})
}

func TestItIsBounded(t *testing.T) {
	t.Parallel()
	m := New(Options{Bytes: 100e3})
	for i := range 1000 {
		run(t, m, exchangeOf("a"), thinking(fmt.Sprint(i))...)
		if m.bytes > 100e3 || len(m.known) != m.age.Len() {
			t.Fatalf("%d bytes, %d and %d entries", m.bytes, len(m.known), m.age.Len())
		}
	}
	if m.find("a", "999") == nil || m.find("a", "0") != nil {
		t.Error("the oldest goes first")
	}
	m.keep(&thought{key: key{"a", "huge"}, signature: strings.Repeat("x", 99e3)})
	if m.find("a", "huge") != nil || m.find("a", "999") == nil {
		t.Error("one call takes all the room")
	}
}
