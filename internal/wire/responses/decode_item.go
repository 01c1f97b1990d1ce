package responses

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// decodeInput reads the input; ok is false if it is neither a text nor items.
func decodeInput(o *rawjson.Object, c *llm.Chat) (ok bool) {
	first := len(c.Messages)
	switch o.Kind(inputField) {
	case '"':
		m := llm.Message{Role: llm.RoleUser, Plain: true}
		if text := o.Str(inputField); text != "" {
			m.Parts = []llm.Part{{Kind: llm.PartText, Text: text}}
		}
		c.Messages = append(c.Messages, m)
		o.Take(inputField)
		return true
	case '[':
		all, ok := rawjson.ObjectsOf(o.Value(inputField))
		if !ok {
			return false
		}
		for _, item := range all {
			c.Messages = decodeItem(c.Messages, first, item)
		}
		if len(c.Messages) != first+1 || !asText(&c.Messages[first]) { // else it stays, or it would be taken for a text
			o.Take(inputField)
		}
		return true
	}
	return false
}

// asText reports whether a message alone is written as a text.
func asText(m *llm.Message) bool {
	return m.Role == llm.RoleUser && m.Plain && len(m.Extra) == 0 && m.Name == ""
}

// decodeItem adds an item: as a message, or to the message of the model that stands at the end, not before number first.
func decodeItem(all []llm.Message, first int, o *rawjson.Object) []llm.Message {
	kind := o.Str(typeField)
	role := llm.Role(o.Str("role"))
	switch {
	case kind == resultItem || kind == customResultItem:
		return append(all, decodeResult(o, kind == customResultItem))
	case (kind == messageItem || !o.Has(typeField)) && role != llm.RoleAssistant && role != "":
		return append(all, decodeMessage(o, role))
	}
	var parts []llm.Part
	switch {
	case (kind == messageItem || !o.Has(typeField)) && role == llm.RoleAssistant:
		parts = decodeSaid(o)
	case kind == callItem || kind == customCallItem:
		parts = decodeCall(o, kind == customCallItem)
	case kind == reasoningItem:
		parts = decodeThought(o)
	}
	if parts == nil {
		parts = []llm.Part{{Kind: llm.PartOther, Extra: o.Rest()}}
	}
	if n := len(all) - 1; n >= first && all[n].Role == llm.RoleAssistant {
		all[n].Parts = append(all[n].Parts, parts...)
		return all
	}
	return append(all, llm.Message{Role: llm.RoleAssistant, Parts: parts})
}

// idle are members of items that say nothing to a model, or that others have no word for and need none.
var idle = []string{typeField, idField, "status", "role", "phase", "caller", encryptedField}

// meaning says what members of an item mean to other dialects.
func meaning(all []llm.Member) llm.Meaning {
	for i := range all {
		m := &all[i]
		if !slices.Contains(idle, m.Name) && !m.Idle() {
			return llm.MeansSomething
		}
	}
	return llm.MeansNothing
}

// decodeMessage reads a message that is not the model's.
func decodeMessage(o *rawjson.Object, role llm.Role) llm.Message {
	m := llm.Message{Role: role}
	o.Take("role")
	parts, plain, ok := decodeContent(o.Value(contentField), inputText)
	if m.Parts, m.Plain = parts, plain; plain || len(parts) > 0 {
		o.Take(contentField)
	}
	m.Extra = o.Rest()
	for i := range m.Extra {
		if m.Extra[i].Name == contentField && !ok {
			continue
		}
		m.Extra[i].Means = meaning(m.Extra[i : i+1])
	}
	return m
}

// startItem marks a part as the first of an item of the model's, of which o holds what is not in its parts.
func startItem(p *llm.Part, o *rawjson.Object) {
	rest := o.Rest()
	m := o.Member(itemField)
	m.Means = meaning(rest)
	p.Extra = append(p.Extra, m)
}

// asPlain marks a content that came as a text.
var asPlain = []byte(`""`)

// decodeSaid reads a message of the model. A content that the form cannot hold stays with the item, beside what could be read. It
// gives nothing for a message without a content.
func decodeSaid(o *rawjson.Object) []llm.Part {
	parts, plain, ok := decodeContent(o.Value(contentField), outputText)
	if !ok {
		return nil
	}
	content := llm.Member{Name: contentField, Value: o.Value(contentField)}
	switch known := slices.DeleteFunc(slices.Clone(parts), func(p llm.Part) bool { return p.Kind == llm.PartOther }); {
	case plain:
		content.Value, content.Means = asPlain, llm.MeansNothing
	case len(known) < len(parts):
		parts = known
	case len(parts) > 0:
		content.Value = nil
	}
	if len(parts) == 0 {
		parts = []llm.Part{{Kind: llm.PartText}}
	}
	o.Take("role", contentField)
	startItem(&parts[0], o)
	if content.Value != nil {
		parts[0].Extra = append(parts[0].Extra, content)
	}
	return parts
}

// decodeContent reads a text or parts, of which texts are of the type usual; ok is false for what is neither.
func decodeContent(value []byte, usual string) (parts []llm.Part, plain, ok bool) {
	switch {
	case len(value) == 0:
		return nil, false, false
	case value[0] == '"':
		if text := string(rawjson.Unquoted(value)); text != "" {
			parts = []llm.Part{{Kind: llm.PartText, Text: text}}
		}
		return parts, true, true
	case value[0] != '[':
		return nil, false, false
	}
	c := rawjson.Cursor{Text: value}
	for range c.Elements() {
		if c.Kind() != '{' {
			return nil, false, false
		}
		parts = append(parts, decodePart(c.Value(), usual))
	}
	return parts, false, true
}

// decodePart reads a part of a content. One that the form cannot hold exactly is PartOther, with all of it in Extra.
func decodePart(value []byte, usual string) llm.Part {
	o := rawjson.ObjectOf(value)
	var p llm.Part
	ok := false
	kind := o.Str(typeField)
	switch kind {
	case inputText, outputText:
		p, ok = llm.Part{Kind: llm.PartText, Text: o.Str(textField)}, o.Kind(textField) == '"'
		o.Take(textField)
	case refusalPart:
		p, ok = llm.Part{Kind: llm.PartRefusal, Text: o.Str(refusalPart)}, o.Kind(refusalPart) == '"'
		o.Take(refusalPart)
	case inputImage:
		p, ok = decodeImage(o)
	case inputFile:
		p, ok = decodeFile(o)
	case inputAudio:
		p, ok = decodeAudio(o)
	}
	if !ok {
		return llm.Part{Kind: llm.PartOther, Extra: rawjson.ObjectOf(value).Rest()}
	}
	if p.Kind != llm.PartText || kind == usual { // else it is another type than the writer would choose
		o.Take(typeField)
	}
	p.Extra = o.Rest()
	for i := range p.Extra {
		switch m := &p.Extra[i]; m.Name {
		case typeField, "annotations", "logprobs":
			m.Means = llm.MeansNothing
		case "prompt_cache_breakpoint":
			m.Means = llm.MeansKnob
		}
	}
	return p
}

func decodeImage(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartImage}
	o.TakeString("image_url", &p.URL)
	o.TakeString("file_id", &p.FileID)
	o.TakeString("detail", &p.Detail)
	if mediaType, data, ok := decodeDataURL(p.URL); ok {
		p.URL, p.MediaType, p.Data = "", mediaType, data
	}
	return p, one(p)
}

// one reports whether it is said in exactly one way what a part is.
func one(p llm.Part) bool {
	n := 0
	for _, said := range []bool{p.URL != "", p.Data != nil, p.FileID != ""} {
		if said {
			n++
		}
	}
	return n == 1
}

func decodeFile(o *rawjson.Object) (llm.Part, bool) {
	p := llm.Part{Kind: llm.PartFile}
	var data string
	o.TakeString("file_url", &p.URL)
	o.TakeString("file_id", &p.FileID)
	o.TakeString("filename", &p.Filename)
	o.TakeString("file_data", &data)
	if detail := o.Str("detail"); detail != "" {
		p.Detail = detail
		o.Take("detail")
	}
	if data != "" {
		var ok bool
		if p.MediaType, p.Data, ok = decodeDataURL(data); !ok {
			return p, false
		}
	}
	return p, one(p)
}

// audioPrefix makes a media type of the dialect's word for a format of audio.
const audioPrefix = "audio/"

func decodeAudio(o *rawjson.Object) (llm.Part, bool) {
	inner := rawjson.ObjectOf(o.Value(inputAudio))
	p := llm.Part{Kind: llm.PartAudio, MediaType: audioPrefix + inner.Str("format")}
	var ok bool
	p.Data, ok = decodeBase64(inner.Str("data"))
	o.Take(inputAudio)
	return p, ok && inner.Str("format") != "" && inner.Only("data", "format")
}

// decodeDataURL reads data:TYPE;base64,DATA. ok is false for all else, and for what would not be the same when encoded again.
func decodeDataURL(url string) (mediaType string, data []byte, ok bool) {
	head, encoded, _ := strings.Cut(url, ",")
	mediaType, ok = strings.CutPrefix(head, "data:")
	if !ok {
		return "", nil, false
	}
	if mediaType, ok = strings.CutSuffix(mediaType, ";base64"); !ok || mediaType == "" {
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

// decodeCall reads a call of a tool; it gives nothing for one that the form cannot hold.
func decodeCall(o *rawjson.Object, custom bool) []llm.Part {
	arguments := argumentsField
	if custom {
		arguments = inputField
	}
	if o.Str("call_id") == "" || o.Str(nameField) == "" || o.Kind(arguments) != '"' {
		return nil
	}
	p := llm.Part{Kind: llm.PartToolCall, CallID: o.Str("call_id"), ToolName: o.Str(nameField), Arguments: o.Str(arguments), Custom: custom}
	o.Take(typeField, "call_id", nameField, arguments)
	if len(o.Fields) > 0 {
		startItem(&p, o)
	}
	return []llm.Part{p}
}

// decodeResult reads what a tool gave.
func decodeResult(o *rawjson.Object, custom bool) llm.Message {
	whole := o.Rest()
	result := llm.Part{Kind: llm.PartToolResult, CallID: o.Str("call_id"), Custom: custom}
	parts, plain, ok := decodeContent(o.Value(outputField), inputText)
	if !ok || result.CallID == "" {
		return llm.Message{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartOther, Extra: whole}}}
	}
	result.Result = parts
	o.Take(typeField, "call_id", outputField)
	m := llm.Message{Role: llm.RoleTool, Plain: plain, Parts: []llm.Part{result}, Extra: o.Rest()}
	for i := range m.Extra {
		m.Extra[i].Means = meaning(m.Extra[i : i+1])
	}
	return m
}

// decodeThought reads reasoning: a part for each piece of its summary, and for each of its text. A proof in it is another vendor's,
// or something that only the vendor of the dialect can read, which stays with the item. It gives nothing for an item that the form
// cannot hold.
func decodeThought(o *rawjson.Object) []llm.Part {
	parts, ok := decodePieces(nil, o.Value("summary"), summaryText)
	if o.Kind(contentField) == '[' {
		summed, read := len(parts), false
		parts, read = decodePieces(parts, o.Value(contentField), reasoningText)
		if ok = ok && read; len(parts) > summed && (len(parts) > 1 || parts[0].Text != "") { // one empty text is as none in the form
			o.Take(contentField)
		}
	}
	if !ok {
		return nil
	}
	if len(parts) == 0 {
		parts = []llm.Part{{Kind: llm.PartReasoning}}
	}
	o.Take(typeField, "summary")
	last := &parts[len(parts)-1]
	if by, signature, redacted := proofOf(o.Str(encryptedField)); by != "" {
		o.Take(encryptedField)
		last.Signer, last.Signature, last.Redacted = by, signature, redacted
	}
	startItem(&parts[0], o)
	return parts
}

// decodePieces reads an array of texts of one type.
func decodePieces(parts []llm.Part, value []byte, kind string) ([]llm.Part, bool) {
	if len(value) == 0 || value[0] != '[' {
		return nil, false
	}
	c := rawjson.Cursor{Text: value}
	for range c.Elements() {
		if c.Kind() != '{' {
			return nil, false
		}
		o := rawjson.ObjectOf(c.Value())
		if o.Str(typeField) != kind || o.Kind(textField) != '"' || !o.Only(typeField, textField) {
			return nil, false
		}
		parts = append(parts, llm.Part{Kind: llm.PartReasoning, Text: o.Str(textField), Summary: kind == summaryText})
	}
	return parts, true
}
