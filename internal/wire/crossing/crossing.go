// Package crossing is what encoders share that write chats of other dialects in their own: what cannot be said is refused, in the
// words and with the places of the caller's dialect, and what is left out is named.
//
// It is not for JSON (rawjson), and knows no dialect of a provider: whether something can be said there is for its encoder.
package crossing

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Elsewhere is the hint for what another dialect can say.
const Elsewhere = "Leave it out, or ask a model of the dialect that knows it."

// Notes are what an encoder found out about a chat. They are for one encoding.
type Notes struct {
	Chat *llm.Chat
	// Whom is who is asked, for refusals: "a model at Bedrock".
	Whom string
	// Adapted names what was left out or bent because the model does not take it, each once.
	Adapted []string
	// Refused is the first thing that cannot be said, a *fault.Error of the code InvalidRequest; nil if there is none.
	Refused error

	at, turns int // how many messages were counted for places, and how many of the caller's they are
}

// words are what callers of other dialects call what is refused, by OpenAI's words.
var words = map[llm.Dialect]map[string]string{
	llm.Anthropic: {
		"stop": "stop_sequences", "response_format": "output_config.format", "max_completion_tokens": "max_tokens", "reasoning_effort": "thinking",
	},
	llm.Responses: {
		"messages": "input", "system": "instructions", "response_format": "text.format", "max_tokens": "max_output_tokens",
		"max_completion_tokens": "max_output_tokens", "reasoning_effort": "reasoning.effort", "logprobs": "top_logprobs",
	},
}

// Param is what the caller calls a member, or a place that begins with one, of which OpenAI's word is given.
func (n *Notes) Param(place string) string {
	name, rest := place, ""
	if i := strings.IndexAny(place, ".["); i > 0 {
		name, rest = place[:i], place[i:]
	}
	if theirs, ok := words[n.Chat.Dialect][name]; ok {
		return theirs + rest
	}
	return place
}

// Cannot refuses what the dialect has no words for; the first counts.
func (n *Notes) Cannot(place, what, hint string) {
	if n.Refused != nil {
		return
	}
	param := n.Param(place)
	f := fault.New(fault.InvalidRequest, "%s: %s cannot be asked of %s.", param, what, n.Whom)
	f.Param, f.Hint = param, hint
	n.Refused = f
}

// Adapt notes, once, that something was left out or bent.
func (n *Notes) Adapt(name string) {
	if !slices.Contains(n.Adapted, name) {
		n.Adapted = append(n.Adapted, name)
	}
}

// Beside refuses members that mean something and would be lost, and names those that are knobs. "" is the place of the chat's own.
func (n *Notes) Beside(place string, all []llm.Member) {
	for i := range all {
		switch m := &all[i]; {
		case m.Idle():
		case m.Means == llm.MeansKnob:
			n.Adapt(m.Name)
		default:
			n.Cannot(strings.TrimPrefix(place+"."+m.Name, "."), "this", Elsewhere)
		}
	}
}

// BesideAt is Beside for members of the message at an index, or of what is in it.
func (n *Notes) BesideAt(index int, all []llm.Member) {
	if len(all) > 0 {
		n.Beside(n.Place(index), all)
	}
}

// Place is where the message at an index of the chat is, as the caller sees it. In Anthropic's dialect the system prompt stands
// apart, and results of tools are in the message of the user that follows them; items of Responses are no messages.
func (n *Notes) Place(index int) string {
	all := n.Chat.Messages
	switch n.Chat.Dialect {
	case llm.Responses:
		return "input"
	case llm.Anthropic:
		if index == 0 && len(all) > 0 && all[0].Role == llm.RoleSystem {
			return "system"
		}
		index = n.turn(min(index, len(all)-1))
	}
	return "messages[" + strconv.Itoa(index) + "]"
}

// turn is which of the caller's messages the one at an index is from. It goes on from where it was asked last: encoders go through a
// conversation once.
func (n *Notes) turn(index int) int {
	all := n.Chat.Messages
	if index < n.at {
		n.at, n.turns = 0, 0
	}
	for ; n.at <= index; n.at++ {
		i := n.at
		same := i > 0 && all[i-1].Role == llm.RoleTool && (all[i].Role == llm.RoleTool || all[i].Role == llm.RoleUser)
		if !same && (i > 0 || all[0].Role != llm.RoleSystem) {
			n.turns++
		}
	}
	return n.turns - 1
}

// IsSystem reports whether a message is for the model and not of the conversation.
func IsSystem(r llm.Role) bool { return r == llm.RoleSystem || r == llm.RoleDeveloper }
