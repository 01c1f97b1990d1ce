package limit

import (
	"bytes"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/tokens"
)

// A meter counts what a stream generates, and ends it where its provider takes no notice of the cap: with the dialect's own stop
// for that, as if the provider had kept it. Plain answers are whole before anybody can count them.
type meter struct {
	target  llm.Target
	model   string // as the client knows it
	most    int64  // tokens over all choices
	many    int    // choices that were asked for
	cut     func() // called when the stream is ended; nil is nobody
	bytes   int64  // of text so far: no text has more tokens than bytes
	counted int64  // tokens of what was counted
	exact   bool   // all of it
	text    []byte // not counted yet
	whole   int64  // pieces that were counted
	next    int64  // bytes before which it cannot be over
	told    llm.Usage

	choices map[int]bool    // that have begun, and whether they have ended
	parts   map[[2]int]bool // that are open, in the canonical form
	blocks  int64           // that have begun, in Anthropic's dialect
	open    bool            // the last of them is not closed
	opened  []byte          // the response that was announced, in the dialect of Responses
	seq     int64           // of the last event there
}

const (
	// piece is what text is counted in; what is cut at an end makes it a little more, slackPiece at most.
	piece      = 2048
	slackPiece = 2
	// Slack is what a count may be over, in percent, where it is an estimate, and tokens that are not worth a cut.
	slackEstimate = 15
	slackTokens   = 16
)

// newMeter meters a stream of so many choices at most tokens each.
func newMeter(target llm.Target, model string, most int64, choices int) *meter {
	m := &meter{target: target, model: model, many: max(choices, 1), exact: true, choices: map[int]bool{}, parts: map[[2]int]bool{}}
	m.most = most * int64(m.many)
	m.next = m.most + 1
	return m
}

// watch passes a stream on up to its cap.
func (m *meter) watch(events iter.Seq2[llm.Event, error], meta *llm.Meta) iter.Seq2[llm.Event, error] {
	return func(yield func(llm.Event, error) bool) {
		for ev, err := range events {
			if !yield(ev, err) || err != nil {
				return
			}
			m.note(&ev)
			_ = failpoint.Pass(failpoint.Metered)
			if ev.Is(llm.End) || !m.over() {
				continue
			}
			if m.cut != nil {
				m.cut()
			}
			for _, end := range m.ending(ev.Dialect, ev.Deltas != nil, meta) {
				if !yield(end, nil) {
					return
				}
			}
			return
		}
	}
}

// note takes from an event what its ending may need. Most streams never come near their cap, and cost next to nothing here.
func (m *meter) note(ev *llm.Event) {
	if ev.Is(llm.UsageIn) {
		m.told = ev.Usage
	}
	if n := len(ev.Text); n > 0 {
		m.bytes += int64(n)
		m.text = append(m.text, ev.Text...)
	}
	switch {
	case ev.Deltas != nil:
		for i := range ev.Deltas {
			m.delta(&ev.Deltas[i])
		}
	case ev.Dialect == llm.Anthropic:
		m.anthropic(ev)
	case ev.Dialect == llm.Responses:
		m.responses(ev)
	}
}

func (m *meter) delta(d *llm.Delta) {
	m.choices[d.Choice] = m.choices[d.Choice] || d.Finish != ""
	part := [2]int{d.Choice, d.Part}
	if d.Open != nil {
		m.parts[part] = true
	}
	if d.Close {
		delete(m.parts, part)
	}
}

func (m *meter) anthropic(ev *llm.Event) {
	switch ev.Name {
	case "content_block_start":
		m.blocks, m.open = m.blocks+1, true
	case "content_block_stop":
		m.open = false
	}
}

func (m *meter) responses(ev *llm.Event) {
	m.seq++
	if ev.Name == "response.created" {
		var created struct {
			Response jsontext.Value `json:"response"`
		}
		if json.Unmarshal(ev.Raw, &created) == nil {
			m.opened = bytes.Clone(created.Response)
		}
	}
}

// over reports whether the stream is past its cap, as surely as that can be known. It counts only when there may be that much: a text
// has no more tokens than bytes, so what is left of the cap has to come in bytes first.
func (m *meter) over() bool {
	if m.bytes < m.next {
		return false
	}
	for len(m.text) >= piece {
		n := cutAt(m.text)
		m.count(m.text[:n])
		m.text = m.text[n:]
		m.whole++
	}
	n, exact := tokens.Count(m.target.Model, m.text)
	m.exact = m.exact && exact
	left := m.limit() - m.counted - n
	m.next = m.bytes + max(left, 0) + 1
	return left < 0
}

// cutAt is where a piece of a text ends: behind a blank, or else before a character.
func cutAt(text []byte) int {
	const near = 64
	if i := bytes.LastIndexByte(text[piece-near:piece], ' '); i >= 0 {
		return piece - near + i // vocabularies have words with the blank before them
	}
	for n := piece; n > piece-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n-1]) {
			return n - 1
		}
	}
	return piece
}

func (m *meter) count(text []byte) {
	n, exact := tokens.Count(m.target.Model, text)
	m.counted, m.exact = m.counted+n, m.exact && exact
}

// limit is the cap, and what a count may be over.
func (m *meter) limit() int64 {
	slack := slackTokens + slackPiece*m.whole
	if !m.exact || m.many > 1 { // the words of several choices come in pieces of each
		slack += m.most * slackEstimate / 100
	}
	return m.most + slack
}

// ending are the events that end the stream as its dialect says that a cap was reached.
func (m *meter) ending(d llm.Dialect, canonical bool, meta *llm.Meta) []llm.Event {
	used := llm.Usage{Input: m.told.Input, CachedInput: m.told.CachedInput, CacheWrite: m.told.CacheWrite, Output: max(m.most, m.told.Output), Estimated: true, Parts: m.told.Parts}
	id, open := "", make([]int, 0, m.many) // choices that have not ended
	if meta != nil {
		id = meta.ID
	}
	for i := range m.many {
		if meta != nil && i < len(meta.Finish) && meta.Finish[i] != "" {
			continue
		}
		open = append(open, i)
		if meta != nil {
			meta.Finished(i, llm.FinishLength)
		}
	}
	switch {
	case canonical:
		var deltas []llm.Delta
		for part := range m.parts {
			deltas = append(deltas, llm.Delta{Choice: part[0], Part: part[1], Close: true})
		}
		for choice, ended := range m.choices {
			if !ended {
				deltas = append(deltas, llm.Delta{Choice: choice, Finish: llm.FinishLength})
			}
		}
		return []llm.Event{{Has: llm.Finish | llm.UsageIn, Dialect: d, Deltas: deltas, Usage: used}, {Has: llm.End, Dialect: d, Deltas: []llm.Delta{}}}
	case d == llm.Anthropic:
		return m.endAnthropic(used)
	case d == llm.Responses:
		return m.endResponses(used)
	}
	quoted, _ := jsontext.AppendQuote(nil, id)
	model, _ := jsontext.AppendQuote(nil, m.model)
	raw := append([]byte(`{"id":`), quoted...)
	raw = append(append(append(raw, `,"object":"chat.completion.chunk","created":0,"model":`...), model...), `,"choices":[`...)
	for i, choice := range open {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = strconv.AppendInt(append(raw, `{"index":`...), int64(choice), 10)
		raw = append(raw, `,"delta":{},"logprobs":null,"finish_reason":"length"}`...)
	}
	raw = append(raw, `]}`...)
	return []llm.Event{{Has: llm.Finish | llm.UsageIn, Dialect: d, Raw: raw, Usage: used}, {Has: llm.End, Dialect: d, Raw: []byte("[DONE]")}}
}

func (m *meter) endAnthropic(used llm.Usage) []llm.Event {
	var all []llm.Event
	if m.open {
		raw := strconv.AppendInt([]byte(`{"type":"content_block_stop","index":`), m.blocks-1, 10)
		all = append(all, llm.Event{Dialect: llm.Anthropic, Name: "content_block_stop", Raw: append(raw, '}')})
	}
	raw := strconv.AppendInt([]byte(`{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":`), used.Output, 10)
	return append(all,
		llm.Event{Has: llm.Finish | llm.UsageIn, Dialect: llm.Anthropic, Name: "message_delta", Raw: append(raw, `}}`...), Usage: used},
		llm.Event{Has: llm.End, Dialect: llm.Anthropic, Name: "message_stop", Raw: []byte(`{"type":"message_stop"}`)})
}

func (m *meter) endResponses(used llm.Usage) []llm.Event {
	members := map[string]jsontext.Value{"object": jsontext.Value(`"response"`)}
	_ = json.Unmarshal(m.opened, &members) // what was announced was read before
	members["status"] = jsontext.Value(`"incomplete"`)
	members["incomplete_details"] = jsontext.Value(`{"reason":"max_output_tokens"}`)
	body, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		body = []byte(`{}`)
	}
	raw := strconv.AppendInt([]byte(`{"type":"response.incomplete","sequence_number":`), m.seq, 10)
	raw = append(append(append(raw, `,"response":`...), body...), '}')
	return []llm.Event{{
		Has: llm.Finish | llm.UsageIn | llm.End, Dialect: llm.Responses, Name: "response.incomplete", Raw: raw, Usage: used,
	}}
}
