// Package anthropic translates between llm and the JSON of the Anthropic dialect: messages, their streams, errors.
//
// It is pure: bytes in, values out, and the other way round. It sends nothing (provider), reads no HTTP (gateway), cuts no
// streams into events (wire/sse), and chooses no models.
//
// What the dialect cannot say is refused, with the place, rather than dropped. Only knobs of sampling, which change how likely
// an answer is and not what was asked, are left out or bent where a model does not take them, and then they are named.
package anthropic

import "errors"

// ErrGarbage is an answer, or an event of one, that is not what the dialect says. What exactly is in the error that wraps it.
var ErrGarbage = errors.New("the answer is not an Anthropic answer")

// ErrEmpty is an answer that is whole and has nothing in it.
var ErrEmpty = errors.New("the answer is empty")

// Names of members.
const (
	contentField  = "content"
	typeField     = "type"
	textField     = "text"
	messagesField = "messages"
	systemField   = "system"
)

// The types of content blocks.
const (
	textBlock     = "text"
	imageBlock    = "image"
	documentBlock = "document"
	toolUse       = "tool_use"
	toolResult    = "tool_result"
	thinkingBlock = "thinking"
	redactedBlock = "redacted_thinking"
)
