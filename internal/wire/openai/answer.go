package openai

import (
	"bytes"
	"fmt"

	"github.com/penstock/penstock/internal/llm"
)

// ScanAnswer reads a plain answer and fills in ev as [ScanChunk] does, without Text (see [AnswerText]). It sees to it
// that the answer is whole and usable: every choice of a chat has a message with something in it and a finish reason,
// embeddings have vectors, moderations results. meta is told what the provider says of the answer; nil is told nothing. Errors are [ErrGarbage], [ErrEmpty] and *[InBandError].
func ScanAnswer(op llm.Operation, body []byte, ev *llm.Event, meta *llm.Meta) error {
	*ev = llm.Event{Dialect: llm.OpenAI, Raw: body}
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: no body", ErrEmpty)
	}
	s := scan{ev: ev, op: op, plain: true, meta: meta}
	if err := s.object(body); err != nil {
		return err
	}
	switch {
	case s.choices == 0:
		return fmt.Errorf("%w: no choices, or no data", ErrEmpty)
	case s.blank && ev.Usage.Output == 0:
		return fmt.Errorf("%w: no text, and no tokens were generated", ErrEmpty)
	}
	ev.Has |= llm.End
	return nil
}

// AnswerText appends the text that a plain answer holds over all choices, reasoning and tool calls included, as
// [llm.Event].Text does for streams: for counting tokens where the provider did not. Of what is no answer it appends
// what can be read.
func AnswerText(dst, body []byte) []byte {
	var ev llm.Event
	s := scan{ev: &ev, text: dst, op: llm.OpChat}
	_ = s.object(body) // what could be read is the result
	return s.text
}

// whole checks the choice, or the embedding, of a plain answer that has just been read. What a vector holds is for
// [FixEmbeddings] to see, which has to look at it anyway.
func (s *scan) whole() error {
	c := s.choice
	switch {
	case s.op == llm.OpEmbeddings:
		if !c.vector {
			return garbage("an embedding without a vector")
		}
		s.ev.Has |= llm.Content
	case s.op == llm.OpModerations:
		if !c.judged {
			return garbage("a result without a judgement")
		}
		s.ev.Has |= llm.Content
	case !c.message:
		return garbage("a choice without a message")
	case !c.finished:
		return garbage("no finish reason")
	case c.some:
	case !c.empty:
		return fmt.Errorf("%w: a message with nothing in it", ErrEmpty)
	default:
		s.blank = s.blank || c.stopped
	}
	return nil
}
