package sim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// KnobHeader is the request header that takes knobs, like the model name after its "?". It is laid over those.
const KnobHeader = "X-Sim-Do"

// A Knob is one thing that can be made to go otherwise, in a call ("gpt-x?status=503&retry_after=2") or a model's do.
// Values are escaped as in a URL's query. "k" counts a stream's content events from 1; "after k" may be after 0, which
// is after the role event and before any content.
type Knob struct {
	Name    string `json:"name"`
	Values  string `json:"values"` // as one would write them
	Meaning string `json:"meaning"`
}

// Knobs lists all knobs.
func Knobs() []Knob {
	list := make([]Knob, len(knobs))
	for i, k := range knobs {
		list[i] = k.Knob
	}
	return list
}

// CheckKnobs says what is wrong with a text of knobs.
func CheckKnobs(text string) error { return (&behaviour{}).set(text) }

// A behaviour is what the knobs say. The zero value is a well-behaved provider.
type behaviour struct {
	// The answer as a whole.
	plan, retryAfter   []string // by the number of the call; the last holds for all later ones
	code, message      string
	leak, html         bool
	bill               *int
	header             http.Header
	redirect, encoding string
	pad                int

	// Time.
	first, gap   *distribution
	stall        spot
	stallFor     time.Duration // 0 is for ever
	ping, drip   time.Duration
	earlyHeaders bool

	// Content.
	events, perEvent           int
	reasoning, hiddenReasoning int
	reasoningField             string
	toolCalls                  int
	shape, finish              string
	refusal, ignoreFormat      bool
	nullContent                bool
	bigEvent, invalidUTF8      int

	// Usage.
	usage  string
	cached *float64
	// Shares of the prompt, of what is written, of the prompt and of what is said; and how often the vendor searches.
	written, hour, heard, spoken, pictures *float64
	untold                                 bool
	searches                               int

	// The stream's events and bytes.
	garbage                                   int
	comments                                  string
	deaf, crlf, tight, multiline, namedEvents bool
	noRole, noFinish, noDone, azure, empty    bool
	plainForStream, sseForPlain, flush        bool
	unknownEvent, errorAt, cut                spot
	cutBytes                                  *int
	reset                                     bool // how a cut ends the connection: reset, not closed
	chunks                                    []int
}

// A spot is a point in an answer: before the headers, after them, or after k content events.
type spot struct {
	at string // "" nowhere, spotHeaders, spotBody, spotEvent
	k  int
}

const (
	spotHeaders = "headers"
	spotBody    = "body"
	spotEvent   = "event"
)

// after reports whether the spot is the one after k content events.
func (s spot) after(k int) bool { return s.at == spotEvent && s.k == k }

// set lays the knobs of text over b. On an error b is half set and must not be used.
func (b *behaviour) set(text string) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return fmt.Errorf("%q is not escaped as in a URL's query", pair)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return fmt.Errorf("%q is not escaped as in a URL's query", pair)
		}
		i := slices.IndexFunc(knobs, func(k knob) bool { return k.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no knob %q (GET /_knobs lists them)", name)
		}
		if err := knobs[i].set(b, value); err != nil {
			return fmt.Errorf("%s: %w (takes %s)", name, err, knobs[i].Values)
		}
	}
	return nil
}

// A knob is a Knob with what it does.
type knob struct {
	Knob
	set func(b *behaviour, value string) error
}

var knobs = []knob{
	{Knob{"status", "503 | drop | rst | hang", "answer with this status; drop closes and rst resets the connection without an answer, hang never answers"}, setPlan},
	{Knob{"plan", "503,503,200", "status by the number of the call to this model with these knobs; the last holds on"}, setPlan},
	{Knob{"retry_after", "2 | 2,5 | a date", "Retry-After of an error, sent as it is written; a list goes by the number of the call"}, func(b *behaviour, v string) error { b.retryAfter = splitPlan(v); return nil }},
	{Knob{"code", "text", "error.code of an error"}, text(func(b *behaviour) *string { return &b.code })},
	{Knob{"message", "text", "error.message of an error"}, text(func(b *behaviour) *string { return &b.message })},
	{Knob{"leak", "1", "an error's message holds the caller's whole credential"}, flag(func(b *behaviour) *bool { return &b.leak })},
	{Knob{"bill", "n", "bill the prompt and n generated tokens, whatever was answered"}, func(b *behaviour, v string) error { return pointer(&b.bill, v) }},
	{Knob{"header", "Name: value", "one more header of the answer; may be repeated"}, setHeader},
	{Knob{"redirect", "URL", "307 to there"}, text(func(b *behaviour) *string { return &b.redirect })},
	{Knob{"html", "1", "the body is a page of HTML, whatever the status"}, flag(func(b *behaviour) *bool { return &b.html })},
	{Knob{"empty", "1", "200 with no body"}, flag(func(b *behaviour) *bool { return &b.empty })},
	{Knob{"pad", "n", "n more bytes in a plain answer or an error, as an unknown member"}, number(func(b *behaviour) *int { return &b.pad })},
	{Knob{"encoding", "gzip | gzip-lie | gzip-hidden | NAME-lie", "compress; say so without doing it; do it without saying so"}, setEncoding},
	{Knob{"plain_for_stream", "1", "JSON where a stream was asked for"}, flag(func(b *behaviour) *bool { return &b.plainForStream })},
	{Knob{"sse_for_plain", "1", "a stream where JSON was asked for"}, flag(func(b *behaviour) *bool { return &b.sseForPlain })},

	{Knob{"first", "100ms | lognormal(300ms,2s)", "delay before the first content"}, delay(func(b *behaviour) **distribution { return &b.first })},
	{Knob{"gap", "10ms | exponential(10ms)", "delay between two content events"}, delay(func(b *behaviour) **distribution { return &b.gap })},
	{Knob{"stall", "headers | body | k, each with :30s", "stop before the headers, after them, or after k content events; without a duration for ever"}, setStall},
	{Knob{"ping", "1s", "a comment line this often while a stream waits"}, duration(func(b *behaviour) *time.Duration { return &b.ping })},
	{Knob{"drip", "100ms", "after the content, one more event this often, for ever"}, duration(func(b *behaviour) *time.Duration { return &b.drip })},
	{Knob{"early_headers", "1", "a stream's headers and role event come before the first delay, not after it"}, flag(func(b *behaviour) *bool { return &b.earlyHeaders })},

	{Knob{"events", "n", "n content tokens, so n content events with per_event=1"}, number(func(b *behaviour) *int { return &b.events })},
	{Knob{"per_event", "n", "n tokens in each content event"}, number(func(b *behaviour) *int { return &b.perEvent })},
	{Knob{"reasoning", "n", "n reasoning tokens first, in the member reasoning (as vLLM)"}, setReasoning("reasoning")},
	{Knob{"reasoning_content", "n", "n reasoning tokens first, in the member reasoning_content (as DeepSeek)"}, setReasoning("reasoning_content")},
	{Knob{"hidden_reasoning", "n", "n reasoning tokens first, billed and not shown"}, number(func(b *behaviour) *int { return &b.hiddenReasoning })},
	{Knob{"tool_calls", "n", "n tool calls, of the request's tools in turn"}, number(func(b *behaviour) *int { return &b.toolCalls })},
	{Knob{"shape", strings.Join(shapesOfCalls, " | "), "how a stream's tool calls look"}, oneOf(shapesOfCalls, func(b *behaviour) *string { return &b.shape })},
	{Knob{"finish", "text", "the finish reason"}, text(func(b *behaviour) *string { return &b.finish })},
	{Knob{"refusal", "1", "the text is a refusal"}, flag(func(b *behaviour) *bool { return &b.refusal })},
	{Knob{"ignore_format", "1", "ignore response_format, encoding_format and dimensions"}, flag(func(b *behaviour) *bool { return &b.ignoreFormat })},
	{Knob{"nullcontent", "1", "content is null, or no event has any"}, flag(func(b *behaviour) *bool { return &b.nullContent })},
	{Knob{"big_event", "n", "the first content event has n bytes of text"}, number(func(b *behaviour) *int { return &b.bigEvent })},
	{Knob{"invalid_utf8", "k", "the text of content event k is not UTF-8"}, number(func(b *behaviour) *int { return &b.invalidUTF8 })},

	{Knob{"usage", strings.Join(usageKinds, " | "), "what is reported; zero and huge are billed so too, the others bill what is true"}, oneOf(usageKinds, func(b *behaviour) *string { return &b.usage })},
	{Knob{"cached", "0.25", "share of the prompt that counts as cached"}, share(func(b *behaviour) **float64 { return &b.cached })},
	{Knob{"written", "0.25", "share of the rest of the prompt that is written to the cache"}, share(func(b *behaviour) **float64 { return &b.written })},
	{Knob{"hour", "0.5", "share of what is written that is kept for an hour"}, share(func(b *behaviour) **float64 { return &b.hour })},
	{Knob{"untold", "1", "how long what is written is kept is not told"}, flag(func(b *behaviour) *bool { return &b.untold })},
	{Knob{"heard", "0.5", "share of what is left of the prompt that is sound"}, share(func(b *behaviour) **float64 { return &b.heard })},
	{Knob{"spoken", "0.5", "share of the answer that is sound"}, share(func(b *behaviour) **float64 { return &b.spoken })},
	{Knob{"pictures", "0.5", "share of the rest of the answer that is pictures"}, share(func(b *behaviour) **float64 { return &b.pictures })},
	{Knob{"searches", "n", "how often the vendor searches for the answer"}, number(func(b *behaviour) *int { return &b.searches })},

	{Knob{"garbage", "k", "content event k, or a plain answer, is broken JSON"}, number(func(b *behaviour) *int { return &b.garbage })},
	{Knob{"unknown_event", "k", "an event of an unknown kind after k content events"}, event(func(b *behaviour) *spot { return &b.unknownEvent })},
	{Knob{"error_at", "k", "an error event after k content events, then the end; in a plain answer an error object under 200"}, event(func(b *behaviour) *spot { return &b.errorAt })},
	{Knob{"cut", "k, also k:rst", "close (or reset) the connection after k content events; a plain answer is cut in its middle"}, setCut},
	{Knob{"cut_bytes", "n, also n:rst", "the same after n bytes of the body"}, setCutBytes},
	{Knob{"comments", "1 | only", "a comment line before each event; only: nothing but comments, then the end"}, oneOf([]string{"0", "1", "only"}, func(b *behaviour) *string { return &b.comments })},
	{Knob{"crlf", "1", "lines end in CR LF"}, flag(func(b *behaviour) *bool { return &b.crlf })},
	{Knob{"deaf", "1", "take no notice of the cap on generated tokens"}, flag(func(b *behaviour) *bool { return &b.deaf })},
	{Knob{"tight", "1", "no space after data:"}, flag(func(b *behaviour) *bool { return &b.tight })},
	{Knob{"multiline", "1", "each event's data is spread over two data: lines"}, flag(func(b *behaviour) *bool { return &b.multiline })},
	{Knob{"named_events", "1", "each event has an id: and an event: line"}, flag(func(b *behaviour) *bool { return &b.namedEvents })},
	{Knob{"no_role", "1", "no role event"}, flag(func(b *behaviour) *bool { return &b.noRole })},
	{Knob{"no_finish", "1", "no finish reason"}, flag(func(b *behaviour) *bool { return &b.noFinish })},
	{Knob{"no_done", "1", "no [DONE]; the body ends cleanly"}, flag(func(b *behaviour) *bool { return &b.noDone })},
	{Knob{"azure", "1", "a first event without choices, id and model"}, flag(func(b *behaviour) *bool { return &b.azure })},
	{Knob{"flush", "1", "each event is a packet of its own"}, flag(func(b *behaviour) *bool { return &b.flush })},
	{Knob{"bytewise", "1", "each byte is a packet of its own"}, func(b *behaviour, _ string) error { b.chunks = []int{1}; return nil }},
	{Knob{"chunks", "3,17,1", "sizes of the packets in bytes, over and over"}, setChunks},
	{Knob{"tag", "text", "nothing; makes a model name of its own, with a plan of its own"}, func(*behaviour, string) error { return nil }},
}

var (
	shapesOfCalls = []string{"plain", "whole", "no_index", "same_index", "repeat_id", "empty_id", "no_type", "split_escape", "interleaved", "reordered"}
	usageKinds    = []string{"true", "none", "zero", "null", "early", "split", "cumulative", "twice", "huge"}
)
