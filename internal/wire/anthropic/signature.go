package anthropic

import (
	"bytes"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Clients of this dialect keep the proof of a thought and send it back, whoever gave it. That of another vendor, which would be
// refused, is told by the name of its dialect before it; the vendor's own has no colon.

// signers are the dialects whose proofs are named. Bedrock's are the vendor's own.
var signers = []llm.Dialect{llm.Gemini, llm.OpenAI, llm.Responses}

// signed is a proof in the form in which clients of this dialect are given it.
func signed(by llm.Dialect, signature string) string {
	if signature != "" && slices.Contains(signers, by) {
		return string(by) + ":" + signature
	}
	return signature
}

// signerOf is the contrary of signed.
func signerOf(sent string) (by llm.Dialect, signature string) {
	name, rest, named := strings.Cut(sent, ":")
	if named && rest != "" && slices.Contains(signers, llm.Dialect(name)) {
		return llm.Dialect(name), rest
	}
	return llm.Anthropic, sent
}

// own reports whether the provider takes a thought back that was sent in this dialect.
func own(thought *rawjson.Object) bool {
	proof := "signature"
	if thought.Str(typeField) == redactedBlock {
		proof = "data"
	}
	by, signature := signerOf(thought.Str(proof))
	return by == llm.Anthropic && signature != ""
}

// Proven is the value of messages without the thoughts that the vendor would refuse, for it did not prove them: those of models
// of other vendors. It is nil if there are none, which is quick to see for most. open says that the last turn of the model, to
// whose calls the conversation's end gives the results, has lost its thoughts: no reasoning can be asked for then.
func Proven(messages []byte) (kept []byte, open bool) {
	if !bytes.Contains(messages, []byte(thinkingBlock+`"`)) { // redacted_thinking is one, too
		return nil, false
	}
	var w rawjson.Writer // empty until a thought is lost: mostly none is, and conversations are long
	c := rawjson.Cursor{Text: messages}
	for range c.Elements() {
		c.Kind() // stands before the message
		before := c.At
		message := c.Value()
		o := rawjson.ObjectOf(message)
		content, stripped := message, false
		if assistant := o.Str("role") == string(llm.RoleAssistant); assistant {
			content, stripped = provenBlocks(o.Value(contentField))
			open = stripped
		} else if !onlyResults(o.Value(contentField)) {
			open = false
		}
		switch {
		case w.Dst == nil && !stripped:
			continue
		case w.Dst == nil:
			w.Dst = append(make([]byte, 0, len(messages)), messages[:before]...)
			w.Dst = bytes.TrimRight(w.Dst, ", \t\r\n")
		}
		if stripped && string(content) == "[]" {
			continue // nothing is left of the turn
		}
		w.Comma()
		if !stripped {
			w.Dst = append(w.Dst, message...)
			continue
		}
		r := llm.Request{Raw: message, Fields: o.Fields}
		w.Dst = r.AppendBody(w.Dst, llm.Edit{Name: contentField, Value: content})
	}
	if w.Dst == nil {
		return nil, false
	}
	return append(w.Dst, ']'), open
}

// Reasons reports whether a value of thinking asks for reasoning that must lead each turn of the model that calls tools.
func Reasons(thinking []byte) bool {
	return len(thinking) > 0 && thinking[0] == '{' && rawjson.ObjectOf(thinking).Str(typeField) == "enabled"
}

func isThought(kind string) bool { return kind == thinkingBlock || kind == redactedBlock }

// provenBlocks are the blocks of a content without the thoughts that are not proven.
func provenBlocks(content []byte) (kept []byte, stripped bool) {
	if len(content) == 0 || content[0] != '[' {
		return content, false
	}
	blocks, _ := rawjson.ObjectsOf(content)
	isLost := func(o *rawjson.Object) bool { return isThought(o.Str(typeField)) && !own(o) }
	if !slices.ContainsFunc(blocks, isLost) {
		return content, false
	}
	w := rawjson.Writer{Dst: []byte{'['}}
	for _, o := range blocks {
		if !isLost(o) {
			w.Comma()
			w.Dst = append(w.Dst, o.Text...)
		}
	}
	return append(w.Dst, ']'), true
}

// onlyResults reports whether a turn of the user gives results of tools.
func onlyResults(content []byte) bool {
	blocks, ok := rawjson.ObjectsOf(content)
	return ok && slices.ContainsFunc(blocks, func(o *rawjson.Object) bool { return o.Str(typeField) == toolResult })
}
