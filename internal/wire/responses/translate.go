package responses

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Translator writes one answer of another dialect in this one, from its canonical form. It is for one exchange. Plain or streamed,
// an answer is the same response: it is put together by the same steps, of which a stream tells each.
type Translator struct {
	// ID is the response's; the ids of its items are made of it.
	ID      string
	Created int64 // Unix seconds
	Model   string
	// Echo are the members that a response repeats of its request (see [Echo]).
	Echo []byte

	quiet    bool // nothing is told on the way
	begun    bool
	sequence int64
	items    []item
	open     bool // the last item is
	at       int  // the provider's number of the part at hand
	head     llm.Part
	finish   llm.FinishReason
	usage    llm.Usage
}

// An item is one of the output.
type item struct {
	kind   llm.PartKind // PartText is a message
	id     string
	head   llm.Part
	pieces []piece // one, but of messages
	proof  string  // of reasoning, for the caller to send back
	cut    bool    // the answer ended within it
}

// A piece is a part of a message, the text of reasoning, or the arguments of a call.
type piece struct {
	kind     llm.PartKind
	text     []byte
	logprobs []byte // elements with commas between
	open     bool
}

// An UnwritableError is a part of an answer for which the dialect has no form.
type UnwritableError struct{ Kind llm.PartKind }

// Error names the kind of part.
func (e *UnwritableError) Error() string {
	return fmt.Sprintf("the answer holds a part of the kind %s, for which the Responses dialect has no form", e.Kind)
}

// AppendEvent appends what an event of a stream is in this dialect, which may be nothing, one event or several. Errors are
// *[UnwritableError].
func (t *Translator) AppendEvent(dst []byte, ev *llm.Event) ([]byte, error) {
	if ev.Is(llm.UsageIn) {
		t.usage = ev.Usage
	}
	for i := range ev.Deltas {
		var err error
		if dst, err = t.delta(dst, ev.Dialect, &ev.Deltas[i]); err != nil {
			return dst, err
		}
	}
	if !ev.Is(llm.End) {
		return dst, nil
	}
	dst = t.shut(t.begin(dst), t.reason() != "")
	if t.quiet {
		return dst, nil
	}
	w := t.event(dst, "response."+t.status())
	w.Name("response")
	w.Dst = t.AppendResponse(w.Dst)
	return sent(w), nil
}

// AppendAnswer appends a plain answer, which came as one event. Errors are *[UnwritableError].
func (t *Translator) AppendAnswer(dst []byte, ev *llm.Event) ([]byte, error) {
	t.quiet = true
	dst, err := t.AppendEvent(dst, ev)
	if err != nil {
		return dst, err
	}
	return t.AppendResponse(dst), nil
}

// AppendFailure appends the last events of a stream that ends with an error: the response as far as it came, and the error itself.
// Clients' libraries make an exception of the latter's member error; those that read the type look for the members beside it.
func (t *Translator) AppendFailure(dst []byte, e *fault.Error) []byte {
	if t.begun {
		if t.open {
			t.last().cut = true
		}
		w := t.event(dst, "response.failed")
		w.Name("response")
		w.Dst = t.response(w.Dst, "failed", e)
		dst = sent(w)
	}
	return AppendError(dst, e, t.sequence)
}

// begin writes the first events, if nothing was written yet.
func (t *Translator) begin(dst []byte) []byte {
	if t.begun {
		return dst
	}
	t.begun = true
	if t.quiet {
		return dst
	}
	for _, name := range []string{"response.created", "response.in_progress"} {
		w := t.event(dst, name)
		w.Name("response")
		w.Dst = t.response(w.Dst, "in_progress", nil)
		dst = sent(w)
	}
	return dst
}

func (t *Translator) delta(dst []byte, by llm.Dialect, d *llm.Delta) ([]byte, error) {
	if d.Choice > 0 {
		return dst, nil // one is all that clients of this dialect can ask for
	}
	dst = t.begin(dst)
	if d.Open != nil {
		var err error
		if dst, err = t.opened(dst, by, d); err != nil {
			return dst, err
		}
	}
	if d.Part == t.at {
		if d.Text != "" {
			dst = t.grow(dst, d)
		}
		if d.Signature != "" && t.head.Kind == llm.PartReasoning {
			dst = t.think(dst)
			t.last().proof = encrypted(by, d.Signature)
		}
		if d.Close {
			dst = t.closed(dst)
		}
	}
	if d.Finish != "" {
		t.finish = d.Finish
	}
	return dst, nil
}

// last is the item at hand.
func (t *Translator) last() *item { return &t.items[len(t.items)-1] }

// opened notes that a part begins. Of text and of reasoning nothing is told before there is some: a part without is none.
func (t *Translator) opened(dst []byte, by llm.Dialect, d *llm.Delta) ([]byte, error) {
	dst = t.closed(dst)
	t.at, t.head = d.Part, *d.Open
	switch p := d.Open; p.Kind {
	case llm.PartText, llm.PartRefusal:
	case llm.PartReasoning:
		if p.Redacted != nil {
			dst = t.think(dst)
			t.last().proof = encrypted(by, unreadable+string(p.Redacted))
		}
	case llm.PartToolCall:
		if d.Signature != "" { // a call has no place for it, and reasoning before it has
			if n := len(t.items); n == 0 || t.last().proof != encrypted(by, d.Signature) {
				dst = t.add(dst, llm.PartReasoning)
				t.last().proof = encrypted(by, d.Signature)
			}
		}
		dst = t.add(dst, llm.PartToolCall)
	case llm.PartImage:
		if p.Data == nil {
			return dst, &UnwritableError{p.Kind}
		}
		dst = t.add(dst, llm.PartImage)
	default:
		return dst, &UnwritableError{p.Kind}
	}
	return dst, nil
}

// prefixes begin the ids of items.
var prefixes = map[llm.PartKind]string{
	llm.PartText: "msg_", llm.PartReasoning: "rs_", llm.PartToolCall: "fc_", llm.PartImage: "ig_",
}

// add begins an item and ends the one before it.
func (t *Translator) add(dst []byte, kind llm.PartKind) []byte {
	dst = t.shut(dst, false)
	it := item{kind: kind, head: t.head}
	prefix := prefixes[kind]
	if kind == llm.PartToolCall && t.head.Custom {
		prefix = "ctc_"
	}
	it.id = prefix + strings.TrimPrefix(t.ID, "resp_") + "_" + strconv.Itoa(len(t.items))
	if kind == llm.PartToolCall {
		it.pieces = []piece{{kind: kind, open: true}}
		if it.head.CallID == "" {
			it.head.CallID = "call_" + it.id[len(prefix):]
		}
	}
	t.items = append(t.items, it)
	t.open = true
	return t.added(dst)
}

// say sees to it that the item at hand is a message whose last piece is open and of the kind of the part.
func (t *Translator) say(dst []byte) []byte {
	if !t.open || t.last().kind != llm.PartText {
		dst = t.add(dst, llm.PartText)
	}
	it := t.last()
	if n := len(it.pieces); n > 0 && it.pieces[n-1].open {
		return dst
	}
	it.pieces = append(it.pieces, piece{kind: t.head.Kind, open: true})
	return t.pieceAdded(dst)
}

// think sees to it that the item at hand is the reasoning of the part.
func (t *Translator) think(dst []byte) []byte {
	if t.open && t.last().kind == llm.PartReasoning {
		return dst
	}
	return t.add(dst, llm.PartReasoning)
}

// grow adds text to the part.
func (t *Translator) grow(dst []byte, d *llm.Delta) []byte {
	switch t.head.Kind {
	case llm.PartText, llm.PartRefusal:
		dst = t.say(dst)
	case llm.PartReasoning:
		dst = t.think(dst)
		if it := t.last(); len(it.pieces) == 0 {
			it.pieces = []piece{{kind: llm.PartReasoning, open: true}}
			dst = t.pieceAdded(dst)
		}
	case llm.PartToolCall:
		if !t.open || t.last().kind != llm.PartToolCall {
			return dst
		}
	default:
		return dst
	}
	it := t.last()
	p := &it.pieces[len(it.pieces)-1]
	p.text = append(p.text, d.Text...)
	logprobs := elements(d.Logprobs)
	if len(logprobs) > 0 {
		if len(p.logprobs) > 0 {
			p.logprobs = append(p.logprobs, ',')
		}
		p.logprobs = append(p.logprobs, logprobs...)
	}
	return t.piece(dst, p, d.Text, logprobs)
}

// elements are the likelihoods of tokens in the form of chat completions, without the bracket around them.
func elements(logprobs []byte) []byte {
	if len(logprobs) == 0 || logprobs[0] != '{' {
		return nil
	}
	c := rawjson.Cursor{Text: logprobs}
	var all []byte
	for name := range c.Members() {
		if string(name) == contentField && c.Kind() == '[' {
			all = c.Value()
		}
	}
	if len(all) < len("[]") {
		return nil
	}
	return all[1 : len(all)-1]
}

// closed notes that the part at hand has ended. A message may go on with another part; other items end with theirs.
func (t *Translator) closed(dst []byte) []byte {
	ended := t.head.Kind
	t.head.Kind = ""
	switch {
	case ended == "" || !t.open:
		return dst
	case t.last().kind == llm.PartText:
		return t.pieceDone(dst)
	}
	return t.shut(dst, false)
}

// shut ends the last item if it is open. cut says that the answer ended within it.
func (t *Translator) shut(dst []byte, cut bool) []byte {
	if !t.open {
		return dst
	}
	t.last().cut = cut
	dst = t.pieceDone(dst)
	t.open = false
	return t.done(dst)
}

// reason is why the response is incomplete, "" if it is not.
func (t *Translator) reason() string {
	switch t.finish {
	case llm.FinishLength, llm.FinishContext:
		return "max_output_tokens"
	case llm.FinishFilter:
		return "content_filter"
	}
	return ""
}

// status is the response's at its end.
func (t *Translator) status() string {
	switch {
	case t.finish == llm.FinishError:
		return "failed"
	case t.reason() != "":
		return "incomplete"
	}
	return "completed"
}

// AppendResponse appends the response as it is at the end.
func (t *Translator) AppendResponse(dst []byte) []byte {
	var e *fault.Error
	if t.finish == llm.FinishError {
		e = fault.New(fault.ProviderFailed, "The provider reported that it could not end its answer.")
	}
	return t.response(dst, t.status(), e)
}

// response appends the response as far as it came.
func (t *Translator) response(dst []byte, status string, failed *fault.Error) []byte {
	w := rawjson.Writer{Dst: append(dst, '{')}
	w.Member(idField, t.ID)
	w.Dst = append(w.Dst, `,"object":"response"`...)
	w.Integer(nil, "created_at", &t.Created)
	w.Member("status", status)
	w.Name("error")
	if failed == nil {
		w.Dst = append(w.Dst, nullValue...)
	} else {
		w.Dst = append(w.Dst, '{')
		w.Member("code", errorCode(failed))
		w.Member("message", failed.Text())
		w.Dst = append(w.Dst, '}')
	}
	w.Name("incomplete_details")
	if status == "incomplete" {
		w.Dst = append(w.Dst, '{')
		w.Member("reason", t.reason())
		w.Dst = append(w.Dst, '}')
	} else {
		w.Dst = append(w.Dst, nullValue...)
	}
	w.Member("model", t.Model)
	w.Name(outputField)
	w.Dst = append(w.Dst, '[')
	if status != "in_progress" {
		for i := range t.items {
			w.Comma()
			t.items[i].write(&w, t.open && i == len(t.items)-1)
		}
	}
	w.Dst = append(w.Dst, ']')
	t.bill(&w, status)
	w.Dst = append(w.Dst, t.Echo...)
	return append(w.Dst, '}')
}

// bill writes what was counted.
func (t *Translator) bill(w *rawjson.Writer, status string) {
	w.Name("usage")
	if status == "in_progress" || status == "failed" {
		w.Dst = append(w.Dst, nullValue...)
		return
	}
	u, total := &t.usage, t.usage.Input+t.usage.Output
	w.Dst = append(w.Dst, '{')
	w.Integer(nil, "input_tokens", &u.Input)
	w.Dst = append(w.Dst, `,"input_tokens_details":{`...)
	w.Integer(nil, "cached_tokens", &u.CachedInput)
	w.Integer(nil, "cache_write_tokens", &u.CacheWrite)
	w.Dst = append(w.Dst, '}')
	w.Integer(nil, "output_tokens", &u.Output)
	w.Dst = append(w.Dst, `,"output_tokens_details":{`...)
	w.Integer(nil, "reasoning_tokens", &u.Reasoning)
	w.Dst = append(w.Dst, '}')
	w.Integer(nil, "total_tokens", &total)
	w.Dst = append(w.Dst, '}')
}

// write writes an item; open says that it has not ended.
func (it *item) write(w *rawjson.Writer, open bool) {
	w.Dst = append(w.Dst, '{')
	w.Member(idField, it.id)
	status := "completed"
	switch {
	case it.cut:
		status = "incomplete"
	case open:
		status = "in_progress"
	}
	switch it.kind {
	case llm.PartReasoning:
		w.Member(typeField, reasoningItem)
		w.Dst = append(w.Dst, `,"summary":[`...)
		for i := range it.pieces {
			w.Comma()
			it.pieces[i].write(w)
		}
		w.Dst = append(w.Dst, ']')
		w.Text(nil, encryptedField, it.proof)
	case llm.PartToolCall:
		kind, arguments := callItem, argumentsField
		if it.head.Custom {
			kind, arguments = customCallItem, inputField
		}
		w.Member(typeField, kind)
		w.Member("status", status)
		w.Name(arguments)
		w.Dst = rawjson.AppendQuoted(w.Dst, string(it.pieces[0].text))
		w.Member("call_id", it.head.CallID)
		w.Member(nameField, it.head.ToolName)
	case llm.PartImage:
		w.Member(typeField, "image_generation_call")
		w.Member("status", status)
		w.Name("result")
		if open {
			w.Dst = append(w.Dst, nullValue...)
		} else {
			w.Dst = append(w.Dst, '"')
			w.Dst = append(base64.StdEncoding.AppendEncode(w.Dst, it.head.Data), '"')
		}
		if _, format, ok := strings.Cut(it.head.MediaType, "/"); ok {
			w.Member("output_format", format)
		}
	default:
		w.Member(typeField, messageItem)
		w.Member("status", status)
		w.Member("role", string(llm.RoleAssistant))
		w.Dst = append(w.Dst, `,"content":[`...)
		for i := range it.pieces {
			w.Comma()
			it.pieces[i].write(w)
		}
		w.Dst = append(w.Dst, ']')
	}
	w.Dst = append(w.Dst, '}')
}

// write writes a piece as a part.
func (p *piece) write(w *rawjson.Writer) {
	switch p.kind {
	case llm.PartReasoning:
		w.Dst = append(w.Dst, `{"type":"summary_text","text":`...)
	case llm.PartRefusal:
		w.Dst = append(w.Dst, `{"type":"refusal","refusal":`...)
	default:
		w.Dst = append(w.Dst, `{"type":"output_text","annotations":[],"logprobs":[`...)
		w.Dst = append(w.Dst, p.logprobs...)
		w.Dst = append(w.Dst, `],"text":`...)
	}
	w.Dst = append(rawjson.AppendQuoted(w.Dst, string(p.text)), '}')
}
