package sim

import (
	"encoding/json"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
)

// A dialect is one vendor's JSON. Everything else (time, faults, framing, bill) is common to all. A dialect is pure and
// keeps nothing.
type dialect interface {
	// operation tells what a path under the provider's name asks for; ok is false if there is no such route.
	operation(method, path string) (op operation, ok bool)
	// chat and embed read a request; in some dialects the path says a part of it. Their errors are the caller's mistakes.
	chat(path string, body []byte) (*ask, error)
	embed(path string, body []byte) (*ask, error)

	// plain is a whole answer.
	plain(a *answer) []byte
	// opening, content and closing are a stream's events: before the content, those of one piece of it, of which the last
	// has the piece, and after it. end is the mark after the last event, nil if there is none.
	opening(a *answer) []frame
	content(a *answer, p piece) []frame
	closing(a *answer) []frame
	end() []byte
	// strange is an event that no client can know.
	strange() frame

	// failure is an error's body, failed the same as an event, and garbage the beginning of a body or event.
	failure(r *refusal) []byte
	failed(r *refusal) frame
	garbage() []byte

	vectors(a *answer, in *ask) []byte
	models(names []string) []byte
}

// A frame is one event of a stream.
type frame struct {
	name   string // "" where the dialect names no events
	data   []byte
	failed bool // it is an error, where the framing tells
}

// A framer is a dialect whose streams are not server-sent events.
type framer interface {
	mediaType() string
	appendFrame(b []byte, f frame) []byte
}

// A doorkeeper is a dialect whose requests are not let in by a key in a header alone.
type doorkeeper interface {
	admits(r *http.Request, body []byte, key string) bool
}

// A counter is a dialect with a call that counts the tokens of a chat, which is asked for as the chat is.
type counter interface {
	countOf(tokens int) []byte
}

// A judge is a dialect that says whether texts are harmful, which costs nothing.
type judge interface {
	moderate(path string, body []byte) (*ask, error)
	judged(a *answer, in *ask) []byte
}

// A labeller is a dialect whose errors have headers.
type labeller interface {
	label(h http.Header, r *refusal)
}

// dialects are those that this version speaks.
var dialects = map[string]dialect{
	string(llm.OpenAI): openAI{}, string(llm.Anthropic): anthropic{}, string(llm.Azure): azure{}, string(llm.Bedrock): bedrock{},
	string(llm.Gemini): gemini{},
}

// An operation is what a route does.
type operation uint8

const (
	opChat operation = iota
	opEmbed
	opModels
	opCount
	opJudge
)

// String is the operation's name in the bill.
func (o operation) String() string {
	return [...]string{string(llm.OpChat), string(llm.OpEmbeddings), "models", string(llm.OpCount), string(llm.OpModerations)}[o]
}

// A refusal is an answer with an error in it.
type refusal struct {
	status     int
	kind       string // error.type; "" takes that of the status
	code       string
	message    string
	param      string
	retryAfter string
	pad        int
}

// Error is the message.
func (r *refusal) Error() string { return r.message }

// refuse makes a refusal with the code that providers give for the status.
func refuse(status int, code, message string) *refusal {
	return &refusal{status: status, code: code, message: message}
}

// badRequest is the refusal of a request that cannot be understood.
func badRequest(param, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, message: message, param: param}
}

// An ask is a request, whatever its dialect.
type ask struct {
	model string // as asked for, knobs included
	// stream and usage say whether a stream was asked for, and its usage.
	stream, usage bool
	max           int // cap of generated tokens per choice, 0 is none
	n             int // choices; 0 where nothing is generated
	logprobs      bool
	alternatives  int // top_logprobs
	tools         []tool
	toolChoice    string          // "", none, required, or the name of a tool
	schema        json.RawMessage // of the structured answer that was asked for; nil is none
	last          string          // the text of the last user message
	prompt        int             // its tokens

	inputs     [][]byte // what to embed, as text or as JSON of tokens
	dimensions int      // 0 is the model's own
	base64     bool
	vertex     bool // the form that Vertex AI answers in
}

// A tool is a function that the model may call.
type tool struct {
	name   string
	schema json.RawMessage
}

// promptTokens is the simulator's rule for prompts: a quarter of the text's bytes, rounded up, at least 1. Text is what
// the messages say, without JSON, roles, tools and schemas; imageTokens are added for each part that is not text.
func promptTokens(textBytes, otherParts int) int {
	return max((textBytes+3)/4, 1) + otherParts*imageTokens
}

const imageTokens = 85
