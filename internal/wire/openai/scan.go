package openai

import (
	"fmt"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A scan is one walk over a chunk of a stream or over a plain answer. It tells ev what it sees.
type scan struct {
	rawjson.Cursor
	ev    *llm.Event
	text  []byte // what was generated is appended here, but not of a plain answer
	op    llm.Operation
	plain bool // a plain answer, of which every choice must be whole

	meta      *llm.Meta // is told what the provider says of the answer; may be nil
	id, model []byte    // of the answer, as JSON strings
	tier      []byte

	choices  int  // how many choices, or embeddings, were seen
	bill     bool // there was a usage in its proper place
	blank    bool // a choice ended by itself and its text is empty
	choice   choice
	texts    int      // how many texts were generated; of parts, 2 or more
	lastText llm.Span // where the last of them lies, with its quotes, if that is a string
	err      error    // the first thing that makes the answer unusable
}

// A choice is what was seen of the choice at hand.
type choice struct {
	message  bool // there is a message
	some     bool // something was generated
	empty    bool // there is a content, and it is ""
	thought  bool // its reasoning is in the text already: some servers send it under two names
	finished bool
	stopped  bool // finished by itself, with "stop"
	vector   bool // it is an embedding
	judged   bool // it is the result of a moderation

	index, reason []byte // as JSON; the reason is nil if it has not finished
}

// garbage makes an [ErrGarbage] that says what is wrong, without quoting the answer.
func garbage(what string) error { return fmt.Errorf("%w: %s", ErrGarbage, what) }

// object reads the whole text, which must be one JSON object.
func (s *scan) object(text []byte) error {
	if !rawjson.Valid(text) {
		return garbage("not JSON")
	}
	s.Cursor = rawjson.Cursor{Text: text}
	if s.Kind() != '{' {
		return garbage("not a JSON object")
	}
	for name := range s.Members() {
		switch string(name) {
		case modelField:
			s.readModel()
		case "id":
			if s.Kind() == '"' {
				s.id = s.Value()
			}
		case "service_tier":
			if s.Kind() == '"' {
				s.tier = s.Value()
			}
		case "choices":
			s.list()
		case "data":
			if s.op == llm.OpEmbeddings {
				s.list()
			}
		case "results":
			if s.op == llm.OpModerations {
				s.list()
			}
		case "usage":
			s.bill = s.bill || s.Kind() == '{'
			s.usage(true)
		case "x_groq": // where Groq puts what does not fit elsewhere
			s.elsewhere()
		case "error":
			s.inBand()
		case "object":
			if string(s.Value()) == `"error"` {
				s.inBandWhole()
			}
		}
	}
	s.tell()
	if s.tier != nil {
		s.meta.ServedBy(rawjson.Unquoted(s.tier), nil)
	}
	return s.err
}

// fail notes what makes the answer unusable.
func (s *scan) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scan) readModel() {
	if s.Kind() == '"' {
		start := s.At
		s.model = s.Value()
		s.ev.ModelAt = llm.Span{Start: start, End: s.At}
	}
}

// elsewhere looks for usage in an object that is not the place for it.
func (s *scan) elsewhere() {
	for name := range s.Members() {
		if string(name) == "usage" {
			s.usage(false)
		}
	}
}

// inBand makes an error of the next value, unless that is null, "" or the like.
func (s *scan) inBand() {
	if e, ok := errorValue(s.Value()); ok {
		s.fail(&InBandError{e})
	}
}

// inBandWhole makes an error of the whole text, which calls itself one.
func (s *scan) inBandWhole() {
	if e, ok := ParseError(s.Cursor.Text); ok {
		s.fail(&InBandError{e})
	}
	s.fail(garbage("an error without words"))
}

// list reads the array of choices, or of embeddings.
func (s *scan) list() {
	switch s.Kind() {
	case 'n':
		return
	case '[':
	default:
		s.fail(garbage("choices or data are not an array"))
		return
	}
	for range s.Elements() {
		s.choices++
		if s.Kind() != '{' {
			s.fail(garbage("a choice is not an object"))
			continue
		}
		s.choice = choice{}
		s.readChoice()
		if s.plain {
			s.fail(s.whole())
		}
	}
}

func (s *scan) readChoice() {
	for name := range s.Members() {
		switch string(name) {
		case "delta", "message":
			s.choice.message = s.Kind() == '{'
			s.message()
		case "finish_reason":
			s.finish()
		case "index":
			s.choice.index = s.Value()
		case "usage": // where Moonshot and others put it
			s.usage(false)
		case "error": // where OpenRouter puts it
			s.inBand()
		case "flagged":
			s.choice.judged = s.Kind() == 't' || s.Kind() == 'f'
		case "categories": // of Mistral, which does not say flagged
			s.choice.judged = s.choice.judged || s.Kind() == '{'
		case "embedding":
			value := s.Value()
			s.choice.vector = len(value) > len(`""`) && (value[0] == '"' || value[0] == '[')
		}
	}
	if s.meta != nil && s.choice.reason != nil {
		s.meta.Finished(s.choice.place(s.choices-1), llm.FinishReasonOf(rawjson.Unquoted(s.choice.reason)))
	}
}

// place is the choice's index, else where it stands.
func (c *choice) place(stands int) int {
	if i, err := strconv.Atoi(string(c.index[:min(len(c.index), maxDigits)])); err == nil {
		return i
	}
	return stands
}

func (s *scan) finish() {
	value := s.Value()
	if value[0] != '"' || len(value) == len(`""`) { // some servers send "" in every chunk
		return
	}
	s.ev.Has |= llm.Finish
	s.choice.finished = true
	s.choice.stopped = string(value) == `"stop"`
	s.choice.reason = value
}

func (s *scan) message() {
	for name := range s.Members() {
		switch string(name) {
		case "content", "refusal":
			s.say()
		case "reasoning_content", "reasoning", "reasoning_details":
			s.think()
		case "tool_calls":
			s.calls()
		case "function_call":
			s.call()
		case "images": // where OpenRouter has those that a model made
			if len(s.Value()) > len("null") {
				s.generated()
			}
		case "audio":
			for name := range s.Members() {
				s.generated()
				if string(name) == "transcript" {
					s.say()
				}
			}
		}
	}
}

func (s *scan) generated() {
	s.ev.Has |= llm.Content
	s.choice.some = true
}

// say reads a value that is generated text, or an array of parts with text.
func (s *scan) say() {
	switch s.Kind() {
	case '"':
		if raw := s.Value(); len(raw) > len(`""`) {
			s.generated()
			s.keep(raw)
			s.texts++
			s.lastText = llm.Span{Start: s.At - len(raw), End: s.At}
		} else {
			s.choice.empty = true
		}
	case '[', '{':
		s.texts += 2 // as many as there may be
		s.parts(s.Value())
	}
}

// think is say for reasoning, which counts once though it may come under several names.
func (s *scan) think() {
	before, empty := len(s.text), s.choice.empty
	s.say()
	s.choice.empty = empty
	if s.choice.thought {
		s.text = s.text[:before]
	}
	s.choice.thought = s.choice.thought || len(s.text) > before
}

// parts takes the text out of an array of parts, or of one part, however deep it lies.
func (s *scan) parts(value []byte) {
	c := rawjson.Cursor{Text: value, At: 1}
	wanted := false
	for kind := c.Kind(); kind != 0; kind = c.Kind() {
		if c.At < len(value)-1 {
			s.generated()
		}
		switch kind {
		case '{', '[', '}', ']':
			c.At++
			continue
		}
		token := c.Value()
		switch {
		case kind == '"' && c.BehindName():
			wanted = isTextName(token)
		case kind == '"' && wanted:
			s.keep(token)
		}
	}
}

func isTextName(name []byte) bool {
	switch string(name) {
	case `"text"`, `"thinking"`, `"summary"`:
		return true
	}
	return false
}

// keep takes a JSON string for generated text.
func (s *scan) keep(raw []byte) {
	if !s.plain {
		s.text = rawjson.AppendUnquoted(s.text, raw)
	}
}

// calls reads an array of tool calls.
func (s *scan) calls() {
	for range s.Elements() {
		s.generated()
		for name := range s.Members() {
			if string(name) == "function" || string(name) == "custom" {
				s.call()
			}
		}
	}
}

// call reads the inside of a tool call.
func (s *scan) call() {
	for name := range s.Members() {
		switch string(name) {
		case "name", "arguments", "input":
			s.say()
		}
	}
}
