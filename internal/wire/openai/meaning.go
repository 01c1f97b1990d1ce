package openai

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// meanings says what the members that stay as they came mean to other dialects: nothing, where the canonical form holds what they
// say or they say how the answer is written and not what it is, and little, where they are of this vendor's business only.
func meanings(c *llm.Chat) {
	for i := range c.Extra {
		switch m := &c.Extra[i]; {
		case held(c, m.Name):
			m.Means = llm.MeansNothing
		case slices.Contains(vendorsOwn, m.Name):
			m.Means = llm.MeansKnob
		}
	}
	for i := range c.Tools {
		means(c.Tools[i].Extra, nil)
	}
	for i := range c.Messages {
		m := &c.Messages[i]
		means(m.Extra, heldOfMessages)
		for k := range m.Parts {
			if p := &m.Parts[k]; p.Kind == llm.PartToolCall {
				means(p.Extra, idleOfCalls)
			}
		}
	}
}

// held reports whether the form holds what a member of the chat says.
func held(c *llm.Chat, name string) bool {
	switch name {
	case "max_tokens", "max_completion_tokens":
		return c.MaxOutput != nil
	case "stop":
		return len(c.Stop) > 0
	case "tools", "functions":
		return len(c.Tools) > 0
	case "tool_choice", "function_call":
		return c.Choice.Mode != llm.ToolUnset
	case "response_format":
		return c.Format.Kind != llm.FormatUnset
	case "stream", "stream_options", "n", "logprobs", "top_logprobs":
		return true
	}
	return false
}

var (
	// vendorsOwn are members that say what becomes of the exchange at this vendor.
	vendorsOwn = []string{"store", "metadata", "safety_identifier", "prompt_cache_retention", "prompt_cache_options", "moderation", "user"}
	// heldOfMessages are members of messages whose meaning is in their parts.
	heldOfMessages = []string{
		"content", "tool_calls", "function_call", "refusal", "reasoning", "reasoning_content", "reasoning_details", "annotations",
	}
	// idleOfCalls are members of calls that say what is known of them anyway, or that libraries add to what they send back.
	idleOfCalls = []string{"type", "index", "extra_content", functionType}
)

// means marks members that mean nothing: those with these names, and the rest of a function of which only members are left that
// say nothing.
func means(all []llm.Member, names []string) {
	for i := range all {
		m := &all[i]
		if slices.Contains(names, m.Name) || m.Name == functionType && idle(m.Value) {
			m.Means = llm.MeansNothing
		}
	}
}

func idle(object []byte) bool {
	rest := rawjson.ObjectOf(object).Rest()
	return !slices.ContainsFunc(rest, func(m llm.Member) bool { return !m.Idle() })
}
