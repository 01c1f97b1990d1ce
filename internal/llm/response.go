package llm

import (
	"iter"
	"slices"
)

// A Response is a target's answer. A plain answer is a sequence of one event; so are embeddings.
type Response struct {
	Target Target
	Stream bool
	// UpstreamID is the provider's own id of the call, from its headers, "" if it gave none.
	UpstreamID string
	// Limits are the provider's rate limits, as it told them with the head of this answer.
	Limits Limits
	// Meta is what the provider says of the answer, filled in as that comes; nil if nothing is known. It is read by whoever
	// walks Events, or after them.
	Meta *Meta
	// Events yields the answer in order. It can be walked once. Breaking off or an error ends the upstream call. An error
	// is the last thing that it yields. A sequence that ends without an error and without an event that is [End] never
	// happens: a broken stream is an error.
	Events iter.Seq2[Event, error]
}

// maxFinished bounds how many reasons to finish are kept of one answer.
const maxFinished = 16

// A Meta is what a provider says of an answer besides the answer. The texts are the provider's, and harmless: short, and of
// printable ASCII.
type Meta struct {
	ID    string // of the answer, "" if it has none
	Model string // that answered, "" if it is not named
	// Tier and Region are how and where it was served, in the provider's words; "" if that is not told.
	Tier, Region string
	// Finish is why each choice ended, by the choice's index; "" for one that has not.
	Finish []FinishReason
}

// maxServed is how long the words for tiers and regions may be, in bytes.
const maxServed = 64

// ServedBy notes how and where the answer was served; "" is not told. The last that is told counts. Words that are long or no
// printable ASCII are left out.
func (m *Meta) ServedBy(tier, region []byte) {
	if m == nil {
		return
	}
	for _, one := range [...]struct {
		to   *string
		word []byte
	}{{&m.Tier, tier}, {&m.Region, region}} {
		if len(one.word) == 0 || len(one.word) > maxServed || string(one.word) == *one.to ||
			slices.ContainsFunc(one.word, func(c byte) bool { return c < ' ' || c > '~' }) {
			continue
		}
		*one.to = wordOf(one.word)
	}
}

// wordOf is the text of a word; those that are usual take no memory.
func wordOf(word []byte) string {
	switch string(word) {
	case "default":
		return "default"
	case "standard":
		return "standard"
	case "priority":
		return "priority"
	case "flex":
		return "flex"
	case "global":
		return "global"
	case "us":
		return "us"
	case "not_available":
		return "not_available"
	}
	return string(word)
}

// Finished notes why a choice ended. The last reason that a choice is given counts; choices beyond the sixteenth are left
// out.
func (m *Meta) Finished(choice int, why FinishReason) {
	if choice < 0 || choice >= maxFinished {
		return
	}
	for len(m.Finish) <= choice {
		m.Finish = append(m.Finish, "")
	}
	m.Finish[choice] = why
}

// Has says what an event carries; one event may carry several things.
type Has uint8

// What an event may carry.
const (
	Content Has = 1 << iota // something generated: text, reasoning, a refusal, a piece of a tool call, audio, an embedding
	Finish                  // a finish reason
	UsageIn                 // Usage is set
	End                     // the proof that the answer is whole: [DONE], or a plain answer's body
	Hidden                  // asked for by Penstock and not by the client: must not be passed on
)

// An Event is one unit of an answer. The slices in it are valid until the next event is asked for.
type Event struct {
	Has Has
	// Dialect is that of Raw.
	Dialect Dialect
	// Raw is the data of the event as the provider sent it, without stream framing; nil if only the canonical form exists.
	Raw []byte
	// Name is the event's name in dialects that name events, else "".
	Name string
	// ModelAt is where in Raw the JSON string with the model's name lies, absent if nowhere.
	ModelAt Span
	// More says that the next event has been received already: whoever writes to a network may wait with flushing.
	More bool
	// Text is what the event adds to the answer, decoded, over all choices, reasoning and tool arguments included: for
	// counting tokens where the provider does not. Only events of a stream have it.
	Text []byte
	// Usage is what the provider reported so far, set if Has holds UsageIn. The last one of an answer counts.
	Usage Usage
	// Count is how many tokens a chat has that was to be counted; only answers of [OpCount] have it.
	Count int64
	// Deltas is the canonical form, for dialects that are translated; nil on the raw path.
	Deltas []Delta
}

// Is reports whether the event carries all of what.
func (e *Event) Is(what Has) bool { return e.Has&what == what }
