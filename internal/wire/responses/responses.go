// Package responses translates between llm and the JSON of OpenAI's Responses: requests of items, response objects and the events
// of their streams.
//
// It is pure: bytes in, values out, and the other way round. It sends nothing (provider), reads no HTTP (gateway), cuts no streams
// into events (wire/sse), and keeps no conversations (conversation): where a request goes on from an earlier one, whoever keeps
// those puts the items together before ([Items]).
//
// The dialect is OpenAI's second one, so errors are those of the first (wire/openai).
package responses

// The names of members, of items and of events that occur in several places.
const (
	typeField         = "type"
	inputField        = "input"
	instructionsField = "instructions"
	contentField      = "content"
	textField         = "text"
	itemField         = "item"
	outputField       = "output"
	idField           = "id"
	toolsField        = "tools"
	nameField         = "name"
	argumentsField    = "arguments"
	encryptedField    = "encrypted_content"
	nullValue         = "null"

	messageItem      = "message"
	callItem         = "function_call"
	searchItem       = "web_search_call"
	resultItem       = "function_call_output"
	customCallItem   = "custom_tool_call"
	customResultItem = "custom_tool_call_output"
	reasoningItem    = "reasoning"

	inputText     = "input_text"
	outputText    = "output_text"
	refusalPart   = "refusal"
	inputImage    = "input_image"
	inputFile     = "input_file"
	inputAudio    = "input_audio"
	summaryText   = "summary_text"
	reasoningText = "reasoning_text"

	functionType = "function"
	customType   = "custom"
)
