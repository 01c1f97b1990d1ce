package gemini

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Stream reads the frames of one answer, one after the other. A plain answer is a stream of one frame, so that both mean the same.
type Stream struct {
	// Meta is told who the answer is and why it ended; it may be nil.
	Meta *llm.Meta

	seed    string // of the ids of calls, the same for all
	choices []choice
	calls   int // of all choices
	blocked string
	content bool
	usage   llm.Usage

	// read is what frames are read into, one after the other.
	read struct{ frame, candidate, content, part rawjson.Object }
}

// A choice is one of the answers.
type choice struct {
	open   llm.PartKind // of the part that is open, "" if none is
	parts  int          // begun so far
	calls  int
	reason string // why it ended, as far as has been said
}

// maxChoices is how many answers there may be, more than can be asked for.
const maxChoices = 64

// finishes are the canonical reasons of the dialect's. A call of a tool ends in STOP, too.
var finishes = map[string]llm.FinishReason{
	"STOP": llm.FinishStop, "MAX_TOKENS": llm.FinishLength, "SAFETY": llm.FinishFilter, "RECITATION": llm.FinishFilter,
	"BLOCKLIST": llm.FinishFilter, "PROHIBITED_CONTENT": llm.FinishFilter, "SPII": llm.FinishFilter, "LANGUAGE": llm.FinishFilter,
	"IMAGE_SAFETY": llm.FinishFilter, "IMAGE_PROHIBITED_CONTENT": llm.FinishFilter, "IMAGE_RECITATION": llm.FinishFilter, "IMAGE_OTHER": llm.FinishFilter,
	"MODEL_ARMOR": llm.FinishFilter,
}

// malformed are the reasons that are no end but an error: what the model generated could not be used.
var malformed = map[string]string{
	"MALFORMED_FUNCTION_CALL":   "The model generated a call of a tool that cannot be read.",
	"UNEXPECTED_TOOL_CALL":      "The model called a tool that it may not call.",
	"TOO_MANY_TOOL_CALLS":       "The model called too many tools.",
	"MISSING_THOUGHT_SIGNATURE": "The model missed the proof of its reasoning.",
	"MALFORMED_RESPONSE":        "The model generated something that cannot be read.",
}

// Frame reads a frame and fills in ev; what is generated is appended to the buffer text (ev.Text is what was added). Why the answer
// ends is told by [Stream.End] only: frames say it early, often, and before calls that follow. Errors are [ErrGarbage] and
// *[InBandError].
func (s *Stream) Frame(data []byte, ev *llm.Event, text []byte) error {
	*ev = llm.Event{Dialect: llm.Gemini, Raw: data}
	if !rawjson.Valid(data) {
		return garbage("not JSON")
	}
	o := &s.read.frame
	o.Open(data)
	if len(o.Fields) == 0 || o.Has(errorField) { // an error may be in an array
		if e, failed := ParseError(data); failed {
			return &InBandError{e}
		}
	}
	if !slices.ContainsFunc(o.Fields, func(f llm.Field) bool { return slices.Contains(answerMembers, f.Name) }) {
		return garbage("not an answer")
	}
	s.tell(o)
	if reason := rawjson.ObjectOf(o.Value("promptFeedback")).Str("blockReason"); reason != "" {
		s.blocked = reason
	}
	f := frame{Stream: s, ev: ev, text: text}
	var err error
	c := rawjson.Cursor{Text: o.Value("candidates")}
	for i := range c.Elements() {
		if c.Kind() != '{' {
			err = garbage("a candidate that is not an object")
		}
		if err == nil {
			s.read.candidate.Open(c.Value())
			err = f.candidate(i, &s.read.candidate)
		}
	}
	if err != nil {
		return err
	}
	ev.Text = f.text[len(text):]
	s.content = s.content || ev.Is(llm.Content)
	if u, ok := usageOf(o.Value("usageMetadata"), s.content); ok {
		ev.Usage, s.usage = u, u
		ev.Has |= llm.UsageIn
	}
	return nil
}

// answerMembers are those of an answer; one with none of them is something else.
var answerMembers = []string{"candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId"}

// The limits of what goes to records and logs, in bytes.
const (
	maxID   = 128
	maxName = 256
)

// tell tells what a frame says of the answer, and takes from the first what ids of calls are made of.
func (s *Stream) tell(o *rawjson.Object) {
	var known llm.Meta
	if s.Meta != nil {
		known = *s.Meta
	}
	id := o.Word("responseId", known.ID)
	if s.seed == "" {
		of := []byte(id)
		if id == "" {
			of = o.Text
		}
		h := fnv.New64a()
		_, _ = h.Write(of)
		s.seed = hex.EncodeToString(h.Sum(nil))
	}
	if s.Meta == nil {
		return
	}
	s.Meta.ServedBy(tierOf(o.Value("usageMetadata")), nil)
	s.Meta.ID, s.Meta.Model = plain(id, maxID, known.ID), plain(o.Word("modelVersion", known.Model), maxName, known.Model)
}

// plain is s if it is short and printable ASCII, else what was there before.
func plain(s string, most int, before string) string {
	if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return before
	}
	return s
}

// garbage makes an [ErrGarbage] that says what is wrong, without quoting the answer.
func garbage(what string) error { return fmt.Errorf("%w: %s", ErrGarbage, what) }

// End says what the end of the frames means, and adds to ev the end of all parts and why each choice ended. Errors are [ErrCut],
// [ErrEmpty] and *[InBandError].
func (s *Stream) End(ev *llm.Event) error {
	if len(s.choices) == 0 && s.blocked != "" {
		s.choices = make([]choice, 1)
	}
	if len(s.choices) == 0 {
		return fmt.Errorf("%w: no candidates", ErrEmpty)
	}
	ended := true // because all was said
	for i := range s.choices {
		c := &s.choices[i]
		if s.blocked != "" && c.reason == "" {
			c.reason = "SAFETY"
		}
		ended = ended && c.reason == "STOP"
		switch what := malformed[c.reason]; {
		case c.reason == "":
			return ErrCut
		case what != "":
			return &InBandError{UpstreamError{Message: what, Status: c.reason}}
		case finishes[c.reason] == "" && c.parts == 0:
			return &InBandError{UpstreamError{Message: "The model ended without an answer.", Status: plain(c.reason, maxID, "")}}
		}
	}
	if !s.content && ended && s.usage.Output == 0 {
		return fmt.Errorf("%w: no text, and no tokens were generated", ErrEmpty)
	}
	ev.Dialect = llm.Gemini
	ev.Has |= llm.Finish | llm.End
	for i := range s.choices {
		c := &s.choices[i]
		c.shut(i, ev)
		why := finishes[c.reason]
		switch {
		case why == "": // one that is not known ends an answer all the same
			why = llm.FinishStop
		case why == llm.FinishStop && c.calls > 0:
			why = llm.FinishTools
		}
		if s.Meta != nil {
			s.Meta.Finished(i, why)
		}
		ev.Deltas = append(ev.Deltas, llm.Delta{Choice: i, Finish: why})
	}
	return nil
}

// shut ends the part that is open.
func (c *choice) shut(index int, ev *llm.Event) {
	if c.open != "" {
		c.open = ""
		ev.Deltas = append(ev.Deltas, llm.Delta{Choice: index, Part: c.parts - 1, Close: true})
	}
}

// ScanAnswer reads a plain answer and fills in ev. It sees to it that the answer is whole and usable; meta may be nil. Errors are
// [ErrGarbage], [ErrEmpty] and *[InBandError].
func ScanAnswer(body []byte, ev *llm.Event, meta *llm.Meta) error {
	*ev = llm.Event{Dialect: llm.Gemini, Raw: body}
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: no body", ErrEmpty)
	}
	s := Stream{Meta: meta}
	if err := s.Frame(body, ev, nil); err != nil {
		return err
	}
	ev.Text = nil
	err := s.End(ev)
	if errors.Is(err, ErrCut) {
		return garbage("no finish reason")
	}
	return err
}

// AnswerText appends the text that a plain answer holds, reasoning and the arguments of calls included, as [llm.Event].Text does
// for streams: for counting tokens where the provider did not.
func AnswerText(dst, body []byte) []byte {
	var s Stream
	var ev llm.Event
	_ = s.Frame(body, &ev, nil) // what could be read is the result
	return append(dst, ev.Text...)
}
