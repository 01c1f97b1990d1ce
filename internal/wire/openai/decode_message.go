package openai

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// decodeMessage reads a message. Its parts are, in this order: reasoning, content, a refusal, tool calls.
func decodeMessage(o *source) llm.Message {
	var m llm.Message
	role := ""
	o.takeString("role", &role)
	o.takeString("name", &m.Name)
	m.Role = llm.Role(role)
	if m.Role == llm.RoleTool || m.Role == llm.RoleFunction {
		result := llm.Part{Kind: llm.PartToolResult, ToolName: m.Name}
		o.takeString("tool_call_id", &result.CallID)
		result.Result = decodeContent(o, &m)
		m.Parts = []llm.Part{result}
		m.Extra = o.rest()
		return m
	}
	m.Parts = decodeReasoning(o)
	m.Parts = append(m.Parts, decodeContent(o, &m)...)
	if m.Plain || m.Null { // beside parts, or without a content, it could not be told from a part
		refusal := llm.Part{Kind: llm.PartRefusal}
		if o.takeString("refusal", &refusal.Text); refusal.Text != "" {
			m.Parts = append(m.Parts, refusal)
		}
	}
	m.Parts = append(m.Parts, decodeCalls(o)...)
	m.Extra = o.rest()
	return m
}

// decodeContent reads the content and says in m which form it had.
func decodeContent(o *source, m *llm.Message) []llm.Part {
	const name = "content"
	switch o.kind(name) {
	case 'n':
		m.Null = true
		o.take(name)
	case '"':
		m.Plain = true
		var parts []llm.Part
		if text := o.str(name); text != "" {
			parts = []llm.Part{{Kind: llm.PartText, Text: text}}
		}
		o.take(name)
		return parts
	case '[':
		all, ok := objectsOf(o.value(name))
		var parts []llm.Part
		for _, p := range all {
			parts = append(parts, decodePart(p))
		}
		if ok {
			o.take(name)
		}
		return parts
	}
	return nil
}

// decodePart reads a part of a content. One that the form cannot hold exactly is PartOther, with all of it in Extra.
func decodePart(o *source) llm.Part {
	kind := o.str("type")
	var p llm.Part
	ok := false
	switch kind {
	case "text", "refusal":
		p = llm.Part{Kind: llm.PartKind(kind), Text: o.str(kind)}
		ok = o.kind(kind) == '"'
	case "image_url":
		p, ok = decodeImage(sourceOf(o.value(kind)))
	case "input_audio":
		p, ok = decodeAudio(sourceOf(o.value(kind)))
	case "file":
		p, ok = decodeFile(sourceOf(o.value(kind)))
	}
	if !ok {
		return llm.Part{Kind: llm.PartOther, Extra: o.rest()}
	}
	p.Cache = takeCache(o)
	o.take("type", kind)
	p.Extra = o.rest()
	return p
}

func decodeImage(o *source) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartImage}
	o.takeString("url", &p.URL)
	o.takeString("detail", &p.Detail)
	if mediaType, data, ok := decodeDataURL(p.URL); ok {
		p.URL, p.MediaType, p.Data = "", mediaType, data
	}
	return p, len(o.fields) == 0 && (p.URL != "" || p.Data != nil)
}

func decodeAudio(o *source) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartAudio}
	var data, format string
	o.takeString("data", &data)
	o.takeString("format", &format)
	p.MediaType = audioPrefix + format
	var ok bool
	p.Data, ok = decodeBase64(data)
	return p, ok && format != "" && len(o.fields) == 0
}

// audioPrefix makes a media type of the dialect's word for a format of audio.
const audioPrefix = "audio/"

func decodeFile(o *source) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartFile}
	var url string
	o.takeString("file_id", &p.FileID)
	o.takeString("filename", &p.Filename)
	o.takeString("file_data", &url)
	if url == "" {
		return p, p.FileID != "" && len(o.fields) == 0
	}
	var ok bool
	p.MediaType, p.Data, ok = decodeDataURL(url)
	return p, ok && p.FileID == "" && len(o.fields) == 0
}

// decodeDataURL reads data:TYPE;base64,DATA. ok is false for all else, and for what would not be the same when encoded
// again.
func decodeDataURL(url string) (mediaType string, data []byte, ok bool) {
	head, encoded, _ := strings.Cut(url, ",")
	mediaType, ok = strings.CutPrefix(head, "data:")
	if !ok {
		return "", nil, false
	}
	mediaType, ok = strings.CutSuffix(mediaType, ";base64")
	if !ok || mediaType == "" {
		return "", nil, false
	}
	data, ok = decodeBase64(encoded)
	return mediaType, data, ok
}

// decodeBase64 reads base64 in the one form that encoding gives: padded, without line breaks. ok is false for "".
func decodeBase64(s string) (data []byte, ok bool) {
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	return data, err == nil && len(data) > 0 && base64.StdEncoding.EncodedLen(len(data)) == len(s)
}

// decodeReasoning reads what a model thought. Servers name it differently, and some say it twice; the fullest counts.
// Only the usual name is taken, and only where it is the only one.
func decodeReasoning(o *source) []llm.Part {
	const usual = "reasoning_content"
	if all, ok := objectsOf(o.value("reasoning_details")); ok {
		var parts []llm.Part
		for _, d := range all {
			parts = append(parts, llm.Part{
				Kind: llm.PartReasoning, Text: d.str("text") + d.str("summary"), Signature: d.str("signature"),
				Redacted: []byte(d.str("data")), Summary: d.str("summary") != "",
			})
		}
		return parts
	}
	text := o.str(usual)
	if text != "" && !o.has("reasoning") && !o.has("reasoning_details") {
		o.take(usual)
	}
	if text == "" {
		text = o.str("reasoning")
	}
	if text == "" {
		return nil
	}
	return []llm.Part{{Kind: llm.PartReasoning, Text: text}}
}

// decodeCalls reads tool_calls and function_call, the older form, whose calls have no id.
func decodeCalls(o *source) []llm.Part {
	const name, old = "tool_calls", "function_call"
	var parts []llm.Part
	all, exact := objectsOf(o.value(name))
	for _, c := range all {
		p, ok := decodeCall(c)
		parts = append(parts, p)
		exact = exact && ok
	}
	if o.kind(old) != '{' {
		if exact && !o.has(old) {
			o.take(name)
		}
		return parts
	}
	f := sourceOf(o.value(old))
	parts = append(parts, llm.Part{Kind: llm.PartToolCall, ToolName: f.str("name"), Arguments: f.str("arguments")})
	if !o.has(name) && f.kind("name") == '"' && f.kind("arguments") == '"' && f.only("name", "arguments") {
		o.take(old)
	}
	return parts
}

// decodeCall reads one of tool_calls; exact is false if encoding it again would give something else.
func decodeCall(o *source) (p llm.Part, exact bool) {
	kind, arguments := o.str("type"), "arguments"
	if kind == customType {
		arguments = "input"
	}
	exact = kind == functionType || kind == customType
	if kind == "" {
		kind = functionType // some clients leave it out
	}
	inner := sourceOf(o.value(kind))
	p = llm.Part{
		Kind: llm.PartToolCall, CallID: o.str("id"), ToolName: inner.str("name"), Arguments: inner.str(arguments),
		Custom: kind == customType,
	}
	exact = exact && p.CallID != "" && inner.kind("name") == '"' && inner.kind(arguments) == '"'
	o.take("id", "type", kind)
	inner.take("name", arguments)
	p.Extra = o.rest()
	if len(inner.fields) > 0 {
		p.Extra = append(p.Extra, inner.member(kind))
	}
	return p, exact
}
