package gemini

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A frame is one that is being read.
type frame struct {
	*Stream
	ev   *llm.Event
	text []byte
}

// candidate reads what a frame adds to a choice; at is where it is among the frame's.
func (f *frame) candidate(at int, o *rawjson.Object) error {
	index := at
	if n, ok := o.Int("index"); ok {
		if n < 0 || n >= maxChoices {
			return garbage("a candidate beyond all that were asked for")
		}
		index = int(n)
	}
	if index >= maxChoices {
		return garbage("more candidates than were asked for")
	}
	for len(f.choices) <= index {
		f.choices = append(f.choices, choice{})
	}
	content, part := &f.read.content, &f.read.part
	content.Open(o.Value(contentField))
	c := rawjson.Cursor{Text: content.Value(partsField)}
	var err error
	for range c.Elements() {
		if c.Kind() != '{' {
			err = garbage("a part that is not an object")
		}
		if err == nil {
			part.Open(c.Value())
			err = f.part(index, part)
		}
	}
	if reason := o.Str("finishReason"); reason != "" && reason != "FINISH_REASON_UNSPECIFIED" {
		f.choices[index].reason = reason
	}
	return err
}

// part reads a part: a piece of text or of reasoning, which may go on in the next; or a whole of something else.
func (f *frame) part(index int, o *rawjson.Object) error {
	proof := o.Str(proofField)
	switch {
	case o.Has(callField):
		return f.call(index, rawjson.ObjectOf(o.Value(callField)), proof)
	case o.Kind(textField) == '"':
		kind := llm.PartText
		if o.Kind("thought") == 't' {
			kind = llm.PartReasoning
		}
		f.say(index, kind, o.Str(textField), proof)
	case o.Has(inlineField) && o.Kind("thought") != 't':
		return f.medium(index, rawjson.ObjectOf(o.Value(inlineField)))
	case o.Only("thought", proofField):
		f.say(index, llm.PartText, "", proof)
	default:
		var all []llm.Member
		for _, m := range o.Rest() {
			all = append(all, llm.Member{Name: m.Name, Value: slices.Clone(m.Value)})
		}
		f.whole(index, &llm.Part{Kind: llm.PartOther, Extra: all}, "", "")
	}
	return nil
}

// say adds to the open part, or opens one. A proof without text belongs to what was said before it.
func (f *frame) say(index int, kind llm.PartKind, text, proof string) {
	c := &f.choices[index]
	d := llm.Delta{Choice: index, Text: text, Signature: proof}
	switch {
	case text == "" && (proof == "" || c.open == ""):
		return
	case text != "" && c.open != kind:
		c.shut(index, f.ev)
		d.Open = &llm.Part{Kind: kind}
		c.open = kind
		c.parts++
	}
	d.Part = c.parts - 1
	if text != "" {
		f.ev.Has |= llm.Content
		f.text = append(f.text, text...)
	}
	f.ev.Deltas = append(f.ev.Deltas, d)
}

// whole adds a part that is whole. The proof of the reasoning that led to it is told of the reasoning too, for callers that keep
// proofs there and nowhere else.
func (f *frame) whole(index int, p *llm.Part, text, proof string) {
	c := &f.choices[index]
	if proof != "" && c.open == llm.PartReasoning {
		f.ev.Deltas = append(f.ev.Deltas, llm.Delta{Choice: index, Part: c.parts - 1, Signature: proof})
	}
	hidden := proof != "" && c.open != llm.PartReasoning
	c.shut(index, f.ev)
	if hidden { // what was thought is not shown
		f.ev.Deltas = append(f.ev.Deltas, llm.Delta{Choice: index, Part: c.parts, Open: &llm.Part{Kind: llm.PartReasoning}, Signature: proof, Close: true})
		c.parts++
	}
	f.ev.Has |= llm.Content
	f.text = append(f.text, text...)
	f.ev.Deltas = append(f.ev.Deltas, llm.Delta{Choice: index, Part: c.parts, Open: p, Text: text, Signature: proof, Close: true})
	c.parts++
}

// call reads the call of a tool. It gets an id, if it has none, that no other call has.
func (f *frame) call(index int, o *rawjson.Object, proof string) error {
	p := llm.Part{Kind: llm.PartToolCall, CallID: o.Str(idField), ToolName: o.Str(nameField)}
	if p.ToolName == "" {
		return garbage("a call without a name")
	}
	f.calls++
	if p.CallID == "" {
		p.CallID = "call_" + f.seed + "_" + strconv.Itoa(f.calls)
	}
	arguments := "{}"
	if o.Kind("args") == '{' {
		arguments = string(compact(o.Value("args")))
	}
	f.choices[index].calls++
	f.whole(index, &p, arguments, proof)
	return nil
}

// compact is JSON without white space, which the vendor's plain answers are full of.
func compact(text []byte) []byte {
	v := jsontext.Value(slices.Clone(text))
	if v.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return text
	}
	return v
}

// medium reads an image or a recording that the model made.
func (f *frame) medium(index int, o *rawjson.Object) error {
	p := llm.Part{Kind: llm.PartFile, MediaType: o.Str(mimeField)}
	var err error
	if p.Data, err = base64.StdEncoding.DecodeString(o.Str(dataField)); err != nil || len(p.Data) == 0 {
		return garbage("a file that is not base64")
	}
	switch kind, _, _ := strings.Cut(p.MediaType, "/"); kind {
	case "image":
		p.Kind = llm.PartImage
	case "audio":
		p.Kind = llm.PartAudio
	}
	f.whole(index, &p, "", "")
	return nil
}
