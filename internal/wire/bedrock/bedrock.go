// Package bedrock translates between llm and the JSON of Amazon Bedrock's Converse: requests, answers, the events of streams, errors.
//
// It is pure: bytes in, values out, and the other way round. It sends and signs nothing (provider), cuts no streams into events
// (wire/eventstream), and chooses no models.
//
// What the dialect cannot say is refused, with the place, rather than dropped. Only knobs of sampling, which change how likely
// an answer is and not what was asked, are left out or bent where a model does not take them, and then they are named.
package bedrock

import "errors"

// ErrGarbage is an answer, or an event of one, that is not what the dialect says. What exactly is in the error that wraps it.
var ErrGarbage = errors.New("the answer is not a Bedrock answer")

// ErrEmpty is an answer that is whole and has nothing in it.
var ErrEmpty = errors.New("the answer is empty")

// SchemaTool is the name of the tool by which models that take no schema are made to answer in one.
const SchemaTool = "structured_answer"

// Names of members.
const (
	contentField = "content"
	textField    = "text"
	typeField    = "type"
	nameField    = "name"
	formatField  = "format"
	sourceField  = "source"
	messageField = "message"
	usageField   = "usage"
)

// The kinds of content blocks, which are named by the one member that a block has.
const (
	textBlock      = "text"
	imageBlock     = "image"
	audioBlock     = "audio"
	documentBlock  = "document"
	toolUse        = "toolUse"
	toolResult     = "toolResult"
	reasoningBlock = "reasoningContent"
	citationsBlock = "citationsContent"
	cachePoint     = "cachePoint"
)
