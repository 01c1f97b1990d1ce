// Package gemini translates between llm and the JSON of Google's Gemini, in its own API and in Vertex AI: requests, answers, the
// frames of streams, vectors, errors.
//
// It is pure: bytes in, values out, and the other way round. It sends nothing (provider), cuts no streams into frames (wire/sse),
// and chooses no models.
//
// What the dialect cannot say is refused, with the place, rather than dropped. Only knobs of sampling, which change how likely
// an answer is and not what was asked, are left out or bent where a model does not take them, and then they are named.
package gemini

import "errors"

// ErrGarbage is an answer, or a frame of one, that is not what the dialect says. What exactly is in the error that wraps it.
var ErrGarbage = errors.New("the answer is not a Gemini answer")

// ErrEmpty is an answer that is whole and has nothing in it.
var ErrEmpty = errors.New("the answer is empty")

// ErrCut is an answer that ended before the model had said why.
var ErrCut = errors.New("the answer ended before its end")

// Names of members.
const (
	contentsField = "contents"
	contentField  = "content"
	partsField    = "parts"
	textField     = "text"
	nameField     = "name"
	roleField     = "role"
	idField       = "id"
	mimeField     = "mimeType"
	dataField     = "data"
	proofField    = "thoughtSignature"
	callField     = "functionCall"
	resultField   = "functionResponse"
	inlineField   = "inlineData"
	configField   = "generationConfig"
	errorField    = "error"
	messageField  = "message"
	statusField   = "status"
)

// The sides of a conversation.
const (
	sideUser  = "user"
	sideModel = "model"
)
