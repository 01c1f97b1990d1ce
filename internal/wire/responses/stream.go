package responses

import (
	"bytes"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// ScanEvent reads the data of one event of a stream and fills in ev: its Raw is data, its Name the event's type, whatever it was
// called on the way. What is generated is appended to the buffer text (ev.Text is what was added). meta is told what the provider says
// of the answer; it may be nil. The event that has the whole response is the end. Errors are those of [ScanAnswer].
func ScanEvent(data []byte, ev *llm.Event, text []byte, meta *llm.Meta) error {
	*ev = llm.Event{Dialect: llm.Responses, Raw: data, Text: text[len(text):]}
	if string(bytes.TrimSpace(data)) == "[DONE]" { // which some servers send all the same
		ev.Has = llm.Hidden
		return nil
	}
	if !rawjson.Valid(data) {
		return garbage("not JSON")
	}
	c := rawjson.Cursor{Text: data}
	if c.Kind() != '{' {
		return garbage("not a JSON object")
	}
	var kind, delta, response, item, failure []byte
	for name := range c.Members() {
		switch string(name) {
		case typeField:
			kind = c.Value()
		case "delta":
			delta = c.Value()
		case responseField:
			response = c.Value()
		case itemField:
			item = c.Value()
		case "error":
			failure = c.Value()
		}
	}
	if len(kind) < 2 || kind[0] != '"' {
		if failure != nil {
			return inBand(failure)
		}
		return garbage("an event without a type")
	}
	name := nameOf(rawjson.Unquoted(kind))
	ev.Name = name
	switch {
	case name == "error":
		if failure == nil || failure[0] != '{' {
			failure = data // its members stand beside its type
		}
		return inBand(failure)
	case name == "response.completed", name == "response.incomplete", name == "response.failed":
		return ended(rawjson.ObjectOf(response), ev, meta)
	case response != nil:
		tell(rawjson.ObjectOf(response), meta)
	case strings.HasSuffix(name, ".delta"):
		ev.Has = llm.Content
		if len(delta) > 2 && delta[0] == '"' && !strings.Contains(name, "audio") {
			ev.Text = rawjson.AppendUnquoted(text, delta)[len(text):]
		}
	case name == "response.output_item.added":
		o := rawjson.ObjectOf(item)
		if t := o.Str(typeField); t != messageItem && t != reasoningItem {
			ev.Has = llm.Content
			ev.Text = append(text, o.Str(nameField)...)[len(text):]
		}
	}
	return nil
}

// nameOf is the name of an event; those that come often cost no allocation.
func nameOf(kind []byte) string {
	switch string(kind) {
	case "response.output_text.delta":
		return "response.output_text.delta"
	case "response.function_call_arguments.delta":
		return "response.function_call_arguments.delta"
	case "response.reasoning_summary_text.delta":
		return "response.reasoning_summary_text.delta"
	case "response.reasoning_text.delta":
		return "response.reasoning_text.delta"
	}
	if bytes.ContainsAny(kind, "\r\n") {
		return ""
	}
	return string(kind)
}
