package openai

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Deltas makes the canonical form of one answer, plain or streamed, for callers of other dialects. What comes interleaved (calls of
// tools, above all) is put in order: parts of a choice never overlap. It reads what [ChunkScanner] or [ScanAnswer] has found to
// be sound. The zero Deltas is ready.
type Deltas struct {
	// Request is the body of the request. Calls whose ids are missing get ids that are made of it: the same for the same
	// request, others in each turn of a conversation.
	Request []byte

	choices []*opened
	ids     map[string]bool // of calls, over all choices
	held    int             // bytes of calls that are kept
	err     error
	out     []llm.Delta
}

// maxHeldCalls caps what is kept of calls until they can be told, in bytes.
const maxHeldCalls = 64 << 20

// Chunk gives what an event of a stream adds. Errors are [ErrGarbage] and *[InBandError].
func (d *Deltas) Chunk(data []byte) ([]llm.Delta, error) {
	d.out = nil
	if isDone(data) {
		return d.end(), d.err
	}
	d.read(data, "delta", "message")
	return d.out, d.err
}

// End gives what is left when an answer has ended without an end mark, or with one.
func (d *Deltas) End() []llm.Delta {
	d.out = nil
	return d.end()
}

// Answer gives all of a plain answer. Errors are those of [Deltas.Chunk].
func (d *Deltas) Answer(body []byte) ([]llm.Delta, error) {
	d.out = nil
	d.read(body, "message", "delta")
	return d.end(), d.err
}

// read reads the choices of a chunk or of a plain answer. Of the members, which are many in every event, only the few that count
// are looked at.
func (d *Deltas) read(data []byte, where, otherwise string) {
	top := rawjson.Cursor{Text: data}
	for name := range top.Members() {
		if string(name) != "choices" || top.Kind() != '[' {
			continue
		}
		at := 0
		for range top.Elements() {
			if top.Kind() == '{' {
				d.element(&top, at, where, otherwise)
			}
			at++
		}
	}
}

// element reads a choice, which is number at unless it says otherwise.
func (d *Deltas) element(in *rawjson.Cursor, at int, where, otherwise string) {
	var said, second, logprobs, why, stop []byte
	for name := range in.Members() {
		switch string(name) {
		case "index":
			at = indexOf(in.Value(), at)
		case where:
			said = in.Value()
		case otherwise:
			second = in.Value()
		case "logprobs":
			logprobs = in.Value()
		case "finish_reason":
			why = in.Value()
		case "stop_reason":
			stop = in.Value()
		}
	}
	if said == nil {
		said = second
	}
	c, before := d.choice(at), len(d.out)
	if len(said) > len("{}") && said[0] == '{' {
		d.message(c, rawjson.ObjectOf(said))
	}
	if len(logprobs) > len("null") && len(d.out) > before {
		d.out[len(d.out)-1].Logprobs = slices.Clone(logprobs)
	}
	c.finish(unquoted(why), stop)
}

// indexOf is a choice's index as the server gives it, else where it stands.
func indexOf(value []byte, stands int) int {
	if n, err := strconv.Atoi(string(value[:min(len(value), maxDigits)])); err == nil && n >= 0 && n < maxChoices {
		return n
	}
	return stands
}

// unquoted is a JSON string as text, "" for whatever is none.
func unquoted(value []byte) string {
	if len(value) <= len(`""`) || value[0] != '"' {
		return ""
	}
	return string(rawjson.Unquoted(value))
}

func (d *Deltas) choice(at int) *opened {
	for len(d.choices) <= at {
		d.choices = append(d.choices, &opened{d: d, index: len(d.choices)})
	}
	return d.choices[at]
}

// message reads what a choice adds, or all of it: reasoning, text, a refusal, calls.
func (d *Deltas) message(c *opened, o *rawjson.Object) {
	d.thoughts(c, o)
	if o.Kind("content") == '[' || o.Kind("content") == '{' {
		d.contents(c, o.Value("content"))
	} else {
		c.say(llm.PartText, o.Str("content"))
	}
	c.say(llm.PartRefusal, o.Str("refusal"))
	images, _ := rawjson.ObjectsOf(o.Value("images"))
	for _, i := range images {
		d.image(c, i)
	}
	if o.Kind("audio") == '{' {
		d.fail(garbage("audio, which the caller's dialect has no form for"))
	}
	calls := rawjson.Cursor{Text: o.Value("tool_calls")}
	for range calls.Elements() {
		if calls.Kind() == '{' {
			c.call(rawjson.ObjectOf(calls.Value()))
		}
	}
	if o.Kind("function_call") == '{' {
		c.oldCall(rawjson.ObjectOf(o.Value("function_call")))
	}
}

// contents reads a content in parts, as Mistral has them.
func (d *Deltas) contents(c *opened, value []byte) {
	all, ok := rawjson.ObjectsOf(value)
	if !ok && value[0] == '{' {
		all = []*rawjson.Object{rawjson.ObjectOf(value)}
	}
	for _, p := range all {
		switch kind := p.Str("type"); kind {
		case "thinking":
			if p.Kind(kind) == '"' {
				c.say(llm.PartReasoning, p.Str(kind))
			}
			inner, _ := rawjson.ObjectsOf(p.Value(kind))
			for _, t := range inner {
				c.say(llm.PartReasoning, t.Str("text"))
			}
		case "refusal":
			c.say(llm.PartRefusal, p.Str(kind))
		case "image_url":
			d.image(c, p)
		case "reference": // to what the text before it is from
		default:
			if p.Kind("text") != '"' {
				d.fail(garbage("a part of a content that is not known"))
			}
			c.say(llm.PartText, p.Str("text"))
		}
	}
}

// image reads an image that the model made, as a link or as its bytes.
func (d *Deltas) image(c *opened, o *rawjson.Object) {
	link := o.Str("image_url")
	if inner := rawjson.ObjectOf(o.Value("image_url")); link == "" {
		link = inner.Str("url")
	}
	p := llm.Part{Kind: llm.PartImage}
	var ok bool
	if p.MediaType, p.Data, ok = decodeDataURL(link); !ok {
		p = llm.Part{Kind: llm.PartImage, URL: link}
	}
	if link == "" {
		d.fail(garbage("an image that is nowhere"))
		return
	}
	c.begin(p).ended = true
}

// fail notes the first thing that makes the answer unusable.
func (d *Deltas) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// thoughts reads reasoning. Servers name it differently, and some say it twice; the fullest counts.
func (d *Deltas) thoughts(c *opened, o *rawjson.Object) {
	details, _ := rawjson.ObjectsOf(o.Value("reasoning_details"))
	said := false
	for _, t := range details {
		if text := t.Str("text") + t.Str("summary"); text != "" {
			said = true
			c.say(llm.PartReasoning, text)
		}
	}
	if !said {
		for _, name := range reasoningNames[:2] {
			if text := o.Str(name); text != "" {
				c.say(llm.PartReasoning, text)
				break
			}
		}
	}
	for _, t := range details {
		if proof := t.Str("signature"); proof != "" {
			c.prove(proof)
		}
		if data := t.Str("data"); data != "" {
			c.redacted(data)
		}
	}
}

// end closes all that is open and says why each choice ended.
func (d *Deltas) end() []llm.Delta {
	for _, c := range d.choices {
		c.end()
	}
	return d.out
}

// finishWords are the canonical reasons of the words that servers use.
var finishWords = map[string]llm.FinishReason{
	"length": llm.FinishLength, "max_tokens": llm.FinishLength, "model_length": llm.FinishLength, "insufficient_system_resource": llm.FinishLength,
	"content_filter": llm.FinishFilter, "safety": llm.FinishFilter, "sensitive": llm.FinishFilter,
	"tool_calls": llm.FinishTools, "tool_use": llm.FinishTools, "function_call": llm.FinishTools,
}

// finish notes why the choice ended; the last word counts, for some servers have one in every chunk. vLLM says which stop sequence
// it was.
func (c *opened) finish(word string, stop []byte) {
	if word != "" {
		if word == "error" { // of OpenRouter, where the model's own provider failed
			c.d.fail(&InBandError{UpstreamError{Message: "The provider ended its answer with an error and did not describe it."}})
		}
		c.why, c.stop = finishWords[word], ""
		if c.why == "" {
			c.why, c.stop = llm.FinishStop, unquoted(stop)
		}
		if c.why == llm.FinishStop && c.stop != "" {
			c.why = llm.FinishSequence
		}
	}
}

// complete reports whether text is an object, so that a call with it as arguments has said all.
func complete(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 1 && text[0] == '{' && text[len(text)-1] == '}' && rawjson.Valid(text)
}
