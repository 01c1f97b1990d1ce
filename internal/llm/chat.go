package llm

// The canonical form of a chat: wide enough for what OpenAI chat, OpenAI Responses, Anthropic Messages, Gemini and
// Bedrock Converse can say. Raw JSON stays raw where its inside is the caller's own business (schemas, arguments).

// A Chat is a whole chat request in canonical form.
type Chat struct {
	// Dialect is the one that the request came in: what Extra, here and in messages, parts and tools, is written in.
	Dialect  Dialect
	Model    string
	Messages []Message
	Tools    []Tool
	Choice   ToolChoice
	// Parallel says whether several tools may be called at once; nil leaves it to the provider.
	Parallel  *bool
	Format    Format
	Reasoning Reasoning
	Sampling  Sampling
	// MaxOutput caps generated tokens, reasoning included; nil leaves it to the provider or to the model's data.
	MaxOutput *int64
	Stop      []string
	Stream    bool
	User      string
	Metadata  map[string]string
	// ServiceTier, CacheKey and Modalities are passed on where the target has them.
	ServiceTier string
	CacheKey    string
	Modalities  []string
	// Extra holds the members that the canonical form has no place for, in their order, as the client sent them. They
	// survive towards the same dialect only.
	Extra []Member
}

// Size is about how many bytes the chat has when it is written, in any dialect: so much room is made for it.
func (c *Chat) Size() int {
	n := 512
	for i := range c.Messages {
		n += 64 + sizeOf(c.Messages[i].Parts)
	}
	for i := range c.Tools {
		t := &c.Tools[i]
		n += 64 + len(t.Name) + len(t.Description) + len(t.Schema)
	}
	return n + len(c.Format.Schema)
}

// sizeOf is as [Chat.Size], of parts: escapes make texts longer, and base64 all else.
func sizeOf(parts []Part) (n int) {
	for i := range parts {
		p := &parts[i]
		text := len(p.Text) + len(p.Arguments) + len(p.URL) + len(p.Signature)
		n += 64 + text + text/8 + (len(p.Data)+len(p.Redacted))*4/3 + sizeOf(p.Result)
	}
	return n
}

// A Member is a JSON object member that is carried as it came.
type Member struct {
	Name  string
	Value []byte
	// Means is what it means to other dialects than its own.
	Means Meaning
}

// A Meaning says what becomes of a member where its dialect is not spoken. Who decodes it knows.
type Meaning uint8

// The meanings.
const (
	MeansSomething Meaning = iota // that cannot be left out: it is refused
	MeansNothing                  // that is not said in the canonical form, too
	MeansKnob                     // what makes an answer quicker or cheaper: it is left out, and named
)

// Idle reports whether a member can be left out silently: it means nothing that is not said elsewhere, or says nothing.
func (m *Member) Idle() bool {
	switch string(m.Value) {
	case "null", "false", "[]", `""`: // an empty object may turn something on
		return true
	}
	return m.Means == MeansNothing
}

// A Role says who speaks.
type Role string

// The roles. Developer is OpenAI's newer name of System; Function is its oldest form of Tool.
const (
	RoleSystem    Role = "system"
	RoleDeveloper Role = "developer"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
	RoleFunction  Role = "function"
)

// A Message is one turn. A tool result is a message of its own with one ToolResult part, whatever the dialect does.
type Message struct {
	Role  Role
	Name  string
	Parts []Part
	// Plain says that the content came as a string and not as a list of parts.
	Plain bool
	// Null says that the content was an explicit null.
	Null  bool
	Extra []Member
}

// A PartKind says what a part of a message is.
type PartKind string

// The kinds of parts.
const (
	PartText       PartKind = "text"
	PartImage      PartKind = "image"
	PartAudio      PartKind = "audio"
	PartFile       PartKind = "file"
	PartToolCall   PartKind = "tool_call"
	PartToolResult PartKind = "tool_result"
	PartReasoning  PartKind = "reasoning"
	PartRefusal    PartKind = "refusal"
	// PartOther is a part that the canonical form has no place for; Extra holds all of it.
	PartOther PartKind = "other"
)

// A Part is a piece of a message. Which fields count depends on Kind.
type Part struct {
	Kind PartKind
	Text string // text, reasoning and refusal

	// Images, audio and files: exactly one of URL, Data and FileID is set.
	URL       string
	Data      []byte // decoded bytes
	FileID    string
	MediaType string // "image/png", "application/pdf", "audio/wav"
	Filename  string
	Detail    string // how closely an image shall be looked at: low, high, auto

	// Tool calls and results.
	CallID    string
	ToolName  string
	Arguments string // JSON text as generated: it may be cut or broken
	Custom    bool   // a free-form tool: Arguments is text, not JSON
	Result    []Part
	IsError   bool

	// Reasoning.
	Signature string // proof that the provider wants back unchanged
	// Signer is the dialect of the providers that know the proof; "" is that of the request.
	Signer   Dialect
	Redacted []byte // reasoning that only the provider can read
	Summary  bool

	Citations []byte // raw JSON, dialect of the provider
	Cache     *CacheMark
	Extra     []Member
}

// A CacheMark asks the provider to cache the prompt up to and including the part.
type CacheMark struct{ TTL string }

// A Tool is something the model may call.
type Tool struct {
	Name        string
	Description string
	Schema      []byte // JSON Schema of the arguments; nil if none was given
	Strict      *bool
	Custom      bool // takes free text instead of arguments
	Cache       *CacheMark
	Extra       []Member
}

// A ToolMode says whether tools may or must be called.
type ToolMode string

// The tool modes. ToolUnset leaves it to the provider.
const (
	ToolUnset    ToolMode = ""
	ToolAuto     ToolMode = "auto"
	ToolNone     ToolMode = "none"
	ToolRequired ToolMode = "required"
	ToolNamed    ToolMode = "named"
)

// A ToolChoice is a mode, narrowed to names: one for ToolNamed, the allowed ones for the others (none means all).
type ToolChoice struct {
	Mode  ToolMode
	Names []string
}

// A FormatKind says what form the answer must have.
type FormatKind string

// The kinds of formats. FormatUnset leaves it to the provider.
const (
	FormatUnset      FormatKind = ""
	FormatText       FormatKind = "text"
	FormatJSON       FormatKind = "json_object"
	FormatJSONSchema FormatKind = "json_schema"
)

// A Format is the form that the answer must have.
type Format struct {
	Kind        FormatKind
	Name        string
	Description string
	Schema      []byte
	Strict      *bool
}

// Reasoning says how much the model shall think, and what of it is shown.
type Reasoning struct {
	Effort  string // none, minimal, low, medium, high, xhigh; "" leaves it to the provider
	Budget  int64  // tokens; 0 is unset, -1 leaves it to the provider
	Off     bool
	Summary string // auto, concise, detailed, omitted
	// Encrypted asks for reasoning in a form that only the provider can read.
	Encrypted bool
}

// Sampling holds the knobs of token choice; nil is unset.
type Sampling struct {
	Temperature, TopP, FrequencyPenalty, PresencePenalty *float64
	TopK, Seed                                           *int64
	N                                                    *int64
	Logprobs                                             *bool
	TopLogprobs                                          *int64
	LogitBias                                            []byte // raw JSON
	Verbosity                                            string
}

// A FinishReason says why generation ended.
type FinishReason string

// The finish reasons, over all dialects.
const (
	FinishStop     FinishReason = "stop"
	FinishSequence FinishReason = "stop_sequence"
	FinishLength   FinishReason = "length"
	FinishContext  FinishReason = "context_window"
	FinishTools    FinishReason = "tool_calls"
	FinishFilter   FinishReason = "content_filter"
	FinishPause    FinishReason = "pause"
	FinishError    FinishReason = "error"
	// FinishFunction is OpenAI's oldest form of FinishTools.
	FinishFunction FinishReason = "function_call"
	// FinishOther stands for a provider's own word that is too long to be one, or is none.
	FinishOther FinishReason = "other"
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 32

// FinishReasonOf is the reason that a provider gave: in its own word, known or not, if that is one. Known words cost no
// allocation.
func FinishReasonOf(word []byte) FinishReason {
	switch string(word) {
	case "stop":
		return FinishStop
	case "length":
		return FinishLength
	case "tool_calls":
		return FinishTools
	case "content_filter":
		return FinishFilter
	case "function_call":
		return FinishFunction
	}
	if len(word) == 0 || len(word) > maxReason {
		return FinishOther
	}
	for _, c := range word {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return FinishOther
		}
	}
	return FinishReason(word)
}

// A Delta is one canonical step of an answer. Parts open, grow and close in order; parts of one choice never overlap.
type Delta struct {
	Choice int
	Part   int // counts parts of the choice from 0
	// Open is set on the first delta of a part and describes it; its text is empty.
	Open *Part
	// Text grows the part: text, reasoning, refusal, tool arguments.
	Text string
	// Signature arrives before a reasoning part closes.
	Signature string
	Close     bool
	Finish    FinishReason
	StopText  string // which stop sequence ended the choice
	Logprobs  []byte
}
