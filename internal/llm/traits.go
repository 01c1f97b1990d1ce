package llm

import (
	"slices"
	"strings"
)

// Traits are what decides how a request must be written for a model. They are data of the catalogue, never guessed from a
// name; the zero Traits are those of a model of which nothing is known, which is asked in the plainest way.
type Traits struct {
	// MaxOutput is how many tokens it can generate, reasoning included; 0 is not known.
	MaxOutput int64
	// NoSampling: it refuses temperature, top_p and top_k. OneSampling: it refuses temperature and top_p together.
	NoSampling, OneSampling bool
	// Thinking is how it is asked to reason.
	Thinking Thinking
	// Takes are what its server takes beyond what all servers of OpenAI's dialect take.
	Takes Takes
	// NoSchema: it does not take a JSON schema for its answer, and is given it as a tool that it must call.
	NoSchema bool
	// LateSystem: it takes system messages after others.
	LateSystem bool
	// NoPenalties: it refuses frequency_penalty and presence_penalty.
	NoPenalties bool
	// Signatures: it refuses calls of tools, among what it said before, that lack the proof of the reasoning that led to them.
	Signatures bool
	// AlwaysThinks: it cannot be kept from reasoning. LeastThinking and MostThinking bound the tokens of [ThinkingBudget]; 0 is no bound.
	AlwaysThinks                bool
	LeastThinking, MostThinking int64
	// Efforts are those that it takes, from least to most, with spaces between; "" is not known.
	Efforts string
}

// Thinking is a way to ask for reasoning.
type Thinking string

// The ways. ThinkingNone is of models that do not reason, or of which that is not known.
const (
	ThinkingNone     Thinking = ""
	ThinkingBudget   Thinking = "budget"   // by a number of tokens
	ThinkingAdaptive Thinking = "adaptive" // by an effort; the model chooses how much
	ThinkingEffort   Thinking = "effort"   // by an effort alone, in OpenAI's words
	ThinkingNova     Thinking = "nova"     // by an effort, in the words of Amazon's models
)

// Takes is a set of members of requests that some servers of OpenAI's dialect take and others refuse or overlook.
type Takes uint8

// The members.
const (
	TakesCompletionCap Takes = 1 << iota // max_completion_tokens, the newer name of max_tokens
	TakesEffort                          // reasoning_effort
	TakesReasoning                       // reasoning_content in what the model said before
	TakesTopK                            // top_k
	TakesCacheMarks                      // cache_control on parts and tools
	TakesResponses                       // the whole of OpenAI's second dialect, at /responses
)

// takesNames are the members' names, in the order of the constants.
var takesNames = []string{"max_completion_tokens", "reasoning_effort", "reasoning_content", "top_k", "cache_control", "responses"}

// TakesNames are the names that [TakesOf] knows.
func TakesNames() []string { return takesNames }

// TakesOf is the set of the members of these names; unknown is the first name that is none of them.
func TakesOf(names []string) (t Takes, unknown string) {
	for _, name := range names {
		i := slices.Index(takesNames, name)
		if i < 0 {
			return t, name
		}
		t |= 1 << i
	}
	return t, ""
}

// All reports whether all of what is in the set.
func (t Takes) All(what Takes) bool { return t&what == what }

// EffortList are the efforts that the model takes, from least to most; none if that is not known.
func (t Traits) EffortList() []string { return strings.Fields(t.Efforts) }
