package openai

import "github.com/penstock/penstock/internal/llm"

// PromptText appends all text of a request that a provider will turn into tokens, each piece on lines of its own:
// messages with their roles and names, tool calls, tool definitions and schemas as JSON; of embeddings the inputs. What
// was sent as tokens is counted instead. Images, audio and files are left out: their tokens do not follow from their
// bytes.
//
// It is for estimates. Providers put words of their own between messages, for which the line breaks stand.
func PromptText(dst []byte, r *llm.Request) (text []byte, tokens int) {
	for _, name := range [...]string{"tools", "functions", "response_format"} {
		if value := r.Field(name); len(value) > 0 && value[0] != 'n' {
			dst = append(append(dst, value...), '\n')
		}
	}
	dst, _ = appendStrings(dst, r.Field("messages"))
	return appendStrings(dst, r.Field("input"))
}

// appendStrings appends every string in a value but the names of members and what stands behind those that hold no text.
// What is no string is counted.
func appendStrings(dst, value []byte) (text []byte, others int) {
	c := cursor{text: value}
	hidden := false
	for kind := c.kind(); kind != 0; kind = c.kind() {
		switch kind {
		case '{', '[', '}', ']':
			c.at++
			continue
		}
		token := c.value()
		switch {
		case kind == '"' && c.behindName():
			hidden = isHidden(token)
		case kind == '"' && !hidden:
			dst = append(appendUnquoted(dst, token), '\n')
		case kind != '"':
			others++
		}
	}
	return dst, others
}

// isHidden reports whether the value behind a name in a message is not text for the model: what it is called by, or bytes.
func isHidden(name []byte) bool {
	switch string(name) {
	case `"type"`, `"id"`, `"tool_call_id"`, `"detail"`, `"format"`, `"url"`, `"data"`, `"file_data"`, `"file_id"`,
		`"signature"`, `"ttl"`:
		return true
	}
	return false
}
