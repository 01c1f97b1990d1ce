// Package llm is the vocabulary that every other package speaks: requests, answers as event sequences, usage, targets
// and money.
//
// It is for the meaning of a call, whatever dialect it came in. It is not for JSON (that is wire/*), not for HTTP (that
// is provider), and not for decisions (those are the stages).
//
// Two forms of everything live side by side. The raw form is the bytes that came over the wire, kept so that a call
// whose client and upstream speak the same dialect is passed on without being encoded anew. The canonical form ([Chat],
// [Delta]) is what translation between dialects and the stages that look into messages use; it is made from the raw
// form on demand.
package llm

import "strings"

// A Dialect is a vendor's HTTP API as a whole: its JSON, its stream events and its errors.
type Dialect string

// The dialects that Penstock knows the names of. Which of them this version can speak is decided by the codecs that
// server registers.
const (
	OpenAI    Dialect = "openai"
	Responses Dialect = "responses" // OpenAI's newer API; providers of it are of the dialect OpenAI
	Anthropic Dialect = "anthropic"
	Gemini    Dialect = "gemini"
	Bedrock   Dialect = "bedrock"
	Azure     Dialect = "azure"
)

// An Operation is what a request asks of a model.
type Operation string

// The operations of the data plane.
const (
	OpChat       Operation = "chat"
	OpEmbeddings Operation = "embeddings"
	OpCount      Operation = "count_tokens" // of a chat that is not sent
	// OpModerations asks whether texts and images are harmful.
	OpModerations Operation = "moderations"
)

// A Target is one model at one provider: what a try is sent to.
type Target struct {
	Provider string // the name in the configuration, for example "openai" or "house"
	Model    string // the provider's own id of the model
}

// ParseTarget splits "provider/model" at its first slash; the model may hold further ones. ok is false if either half
// is empty.
func ParseTarget(s string) (t Target, ok bool) {
	p, m, found := strings.Cut(s, "/")
	return Target{Provider: p, Model: m}, found && p != "" && m != ""
}

// String is "provider/model", the form of the X-Penstock-Target header, the record and the metrics.
func (t Target) String() string {
	if t.Provider == "" && t.Model == "" {
		return ""
	}
	return t.Provider + "/" + t.Model
}
