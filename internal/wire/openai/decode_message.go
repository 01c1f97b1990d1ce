package openai

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// decodeMessage reads a message. Its parts are, in this order: reasoning, content, a refusal, tool calls.
func decodeMessage(o *rawjson.Object) llm.Message {
	var m llm.Message
	role := ""
	o.TakeString("role", &role)
	o.TakeString("name", &m.Name)
	m.Role = llm.Role(role)
	if m.Role == llm.RoleTool || m.Role == llm.RoleFunction {
		result := llm.Part{Kind: llm.PartToolResult, ToolName: m.Name}
		o.TakeString("tool_call_id", &result.CallID)
		result.Result = decodeContent(o, &m)
		m.Parts = []llm.Part{result}
		m.Extra = o.Rest()
		return m
	}
	m.Parts = decodeReasoning(o)
	if content := decodeContent(o, &m); m.Parts == nil {
		m.Parts = content // which spares most messages a copy
	} else {
		m.Parts = append(m.Parts, content...)
	}
	if m.Plain || m.Null { // beside parts, or without a content, it could not be told from a part
		refusal := llm.Part{Kind: llm.PartRefusal}
		if o.TakeString("refusal", &refusal.Text); refusal.Text != "" {
			m.Parts = append(m.Parts, refusal)
		}
	}
	m.Parts = append(m.Parts, decodeCalls(o)...)
	m.Extra = o.Rest()
	return m
}

// decodeContent reads the content and says in m which form it had.
func decodeContent(o *rawjson.Object, m *llm.Message) []llm.Part {
	const name = "content"
	switch o.Kind(name) {
	case 'n':
		m.Null = true
		o.Take(name)
	case '"':
		m.Plain = true
		var parts []llm.Part
		if text := o.Str(name); text != "" {
			parts = []llm.Part{{Kind: llm.PartText, Text: text}}
		}
		o.Take(name)
		return parts
	case '[':
		all, ok := rawjson.ObjectsOf(o.Value(name))
		var parts []llm.Part
		for _, p := range all {
			parts = append(parts, decodePart(p))
		}
		if ok {
			o.Take(name)
		}
		return parts
	}
	return nil
}

// decodePart reads a part of a content. One that the form cannot hold exactly is PartOther, with all of it in Extra.
func decodePart(o *rawjson.Object) llm.Part {
	kind := o.Str("type")
	var p llm.Part
	ok := false
	switch kind {
	case "text", "refusal":
		p = llm.Part{Kind: llm.PartKind(kind), Text: o.Str(kind)}
		ok = o.Kind(kind) == '"'
	case "image_url":
		p, ok = decodeImage(rawjson.ObjectOf(o.Value(kind)))
	case "input_audio":
		p, ok = decodeAudio(rawjson.ObjectOf(o.Value(kind)))
	case "file":
		p, ok = decodeFile(rawjson.ObjectOf(o.Value(kind)))
	}
	if !ok {
		return llm.Part{Kind: llm.PartOther, Extra: o.Rest()}
	}
	p.Cache = takeCache(o)
	o.Take("type", kind)
	p.Extra = o.Rest()
	return p
}

func decodeImage(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartImage}
	o.TakeString("url", &p.URL)
	o.TakeString("detail", &p.Detail)
	if mediaType, data, ok := decodeDataURL(p.URL); ok {
		p.URL, p.MediaType, p.Data = "", mediaType, data
	}
	return p, len(o.Fields) == 0 && (p.URL != "" || p.Data != nil)
}

func decodeAudio(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartAudio}
	var data, format string
	o.TakeString("data", &data)
	o.TakeString("format", &format)
	p.MediaType = audioPrefix + format
	var ok bool
	p.Data, ok = decodeBase64(data)
	return p, ok && format != "" && len(o.Fields) == 0
}

// audioPrefix makes a media type of the dialect's word for a format of audio.
const audioPrefix = "audio/"

func decodeFile(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartFile}
	var url string
	o.TakeString("file_id", &p.FileID)
	o.TakeString("filename", &p.Filename)
	o.TakeString("file_data", &url)
	if url == "" {
		return p, p.FileID != "" && len(o.Fields) == 0
	}
	var ok bool
	p.MediaType, p.Data, ok = decodeDataURL(url)
	return p, ok && p.FileID == "" && len(o.Fields) == 0
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
func decodeReasoning(o *rawjson.Object) []llm.Part {
	const usual = "reasoning_content"
	if all, ok := rawjson.ObjectsOf(o.Value("reasoning_details")); ok {
		var parts []llm.Part
		for _, d := range all {
			parts = append(parts, llm.Part{
				Kind: llm.PartReasoning, Text: d.Str("text") + d.Str("summary"), Signature: d.Str("signature"),
				Redacted: []byte(d.Str("data")), Summary: d.Str("summary") != "",
			})
		}
		return parts
	}
	text := o.Str(usual)
	if text != "" && !o.Has("reasoning") && !o.Has("reasoning_details") {
		o.Take(usual)
	}
	if text == "" {
		text = o.Str("reasoning")
	}
	if text == "" {
		return nil
	}
	return []llm.Part{{Kind: llm.PartReasoning, Text: text}}
}

// decodeCalls reads tool_calls and function_call, the older form, whose calls have no id.
func decodeCalls(o *rawjson.Object) []llm.Part {
	const name, old = "tool_calls", "function_call"
	var parts []llm.Part
	all, exact := rawjson.ObjectsOf(o.Value(name))
	for _, c := range all {
		p, ok := decodeCall(c)
		parts = append(parts, p)
		exact = exact && ok
	}
	if o.Kind(old) != '{' {
		if exact && !o.Has(old) {
			o.Take(name)
		}
		return parts
	}
	f := rawjson.ObjectOf(o.Value(old))
	parts = append(parts, llm.Part{Kind: llm.PartToolCall, ToolName: f.Str("name"), Arguments: f.Str("arguments")})
	if !o.Has(name) && f.Kind("name") == '"' && f.Kind("arguments") == '"' && f.Only("name", "arguments") {
		o.Take(old)
	}
	return parts
}

// extraContent is where the OpenAI dialect of Gemini has the proof of reasoning that models want back with their calls.
const extraContent = "extra_content"

// decodeCall reads one of tool_calls; exact is false if encoding it again would give something else.
func decodeCall(o *rawjson.Object) (p llm.Part, exact bool) {
	kind, arguments := o.Str("type"), "arguments"
	if kind == customType {
		arguments = "input"
	}
	exact = kind == functionType || kind == customType
	if kind == "" {
		kind = functionType // some clients leave it out
	}
	inner := rawjson.ObjectOf(o.Value(kind))
	p = llm.Part{
		Kind: llm.PartToolCall, CallID: o.Str("id"), ToolName: inner.Str("name"), Arguments: inner.Str(arguments),
		Custom: kind == customType,
	}
	exact = exact && p.CallID != "" && inner.Kind("name") == '"' && inner.Kind(arguments) == '"'
	if proof := rawjson.ObjectOf(rawjson.ObjectOf(o.Value(extraContent)).Value("google")).Str("thought_signature"); proof != "" {
		p.Signature, p.Signer = proof, llm.Gemini // it stays in Extra, too
	}
	o.Take("id", "type", kind)
	inner.Take("name", arguments)
	p.Extra = o.Rest()
	if len(inner.Fields) > 0 {
		p.Extra = append(p.Extra, inner.Member(kind))
	}
	return p, exact
}
