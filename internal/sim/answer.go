package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/llm"
)

// A pieceKind is what a piece of an answer belongs to.
type pieceKind uint8

const (
	pieceText pieceKind = iota
	pieceReasoning
	pieceCall // the arguments of a tool call; the first one has its id and name
)

// A piece is what one content event carries.
type piece struct {
	kind   pieceKind
	choice int
	call   int  // of the choice's calls
	first  bool // of the call
	text   string
	tokens int // what is billed for it
	last   int // tokens of the choice up to its end, for logprobs and cumulative usage

	// Of dialects that put what belongs together into blocks: which one, counted from 0, and whether it begins here.
	block int
	opens bool
	proof bool // the block before was reasoning, and ends with its signature
}

// An answer is what a model says, whatever the dialect. It is made whole before it is sent; player sends it.
type answer struct {
	id, model string
	created   int64
	ask       *ask
	do        *behaviour
	choices   []choice
	pieces    []piece // of all choices, in the order in which a stream has them
	blocks    int     // of pieces
	hidden    int     // reasoning tokens that are not shown, of all choices
	prompt    int
	cached    int
	sent      int // tokens generated so far; the player counts
	events    int // of dialects that number them
	random    *rand.Rand
}

// A choice is one of an answer's n alternatives.
type choice struct {
	calls  []toolCall
	finish string
}

// A toolCall is one call of a tool.
type toolCall struct{ id, name string }

// usage is what an answer reports or is billed for.
type usage struct {
	prompt, cached, completion, reasoning int
	written, hour                         int // of prompt, what is written to the cache; of that, what is kept for an hour
	heard, spoken, pictures               int // of prompt, and of completion
	searches                              int
}

// newAnswer decides everything that the model will say.
func newAnswer(id string, in *ask, m *model, do *behaviour, r *rand.Rand) *answer {
	a := &answer{id: id, model: m.name, created: time.Now().Unix(), ask: in, do: do, prompt: in.prompt, random: r}
	share := m.cachedShare
	if in.n == 0 { // nothing is cached for vectors
		share = 0
	}
	if do.cached != nil {
		share = *do.cached
	}
	a.cached = int(math.Floor(float64(a.prompt) * share))
	perChoice := make([][]piece, in.n)
	a.choices = make([]choice, in.n)
	for i := range a.choices {
		perChoice[i] = a.makeChoice(i, m)
	}
	a.pieces = interleave(perChoice)
	a.blocks = inBlocks(a.pieces)
	if do.bigEvent > 0 && len(a.pieces) > 0 {
		a.pieces[0].text = strings.Repeat("x", do.bigEvent)
	}
	if k := do.invalidUTF8; k > 0 && k <= len(a.pieces) {
		a.pieces[k-1].text = " \xff\xfe"
	}
	return a
}

// inBlocks puts pieces into blocks: neighbours of one kind, and of one call, are one. It returns how many there are.
func inBlocks(pieces []piece) int {
	n := 0
	for i := range pieces {
		p := &pieces[i]
		if i == 0 || p.kind != pieces[i-1].kind || p.call != pieces[i-1].call {
			p.opens, p.proof = true, i > 0 && pieces[i-1].kind == pieceReasoning
			n++
		}
		p.block = n - 1
	}
	return n
}

// makeChoice fills a.choices[i] and gives its pieces, cut to the request's cap.
func (a *answer) makeChoice(i int, m *model) []piece {
	c := &a.choices[i]
	c.finish = "stop"
	pieces := a.reasoning(i)
	hidden := a.do.hiddenReasoning
	switch calls := a.toolCalls(); {
	case len(calls) > 0:
		c.finish = "tool_calls"
		pieces = append(pieces, a.callPieces(c, i, calls)...)
	case a.do.nullContent:
	default:
		pieces = append(pieces, textPieces(i, a.text(m))...)
	}
	if limit := a.ask.max; limit > 0 && !a.do.deaf && hidden+len(pieces) > limit {
		hidden = min(hidden, limit)
		pieces = pieces[:limit-hidden]
		c.finish = "length"
	}
	a.hidden += hidden
	if a.do.finish != "" {
		c.finish = a.do.finish
	}
	per := max(m.perEvent, 1)
	if a.do.perEvent > 0 {
		per = a.do.perEvent
	}
	if a.ask.logprobs {
		per = 1 // so that an event's logprobs are those of one token
	}
	return gather(pieces, per)
}

func (a *answer) reasoning(i int) []piece {
	pieces := make([]piece, a.do.reasoning)
	for k := range pieces {
		pieces[k] = piece{kind: pieceReasoning, choice: i, text: word(a.random, k), tokens: 1}
	}
	return pieces
}

// text is what the model says: an echo, an instance of the schema, or words; cut into tokens.
func (a *answer) text(m *model) []string {
	if rest, ok := strings.CutPrefix(a.ask.last, echoPrefix); ok {
		return tokens(rest)
	}
	if a.ask.schema != nil && !a.do.ignoreFormat {
		return slicesOf(string(instance(a.ask.schema)), callTokenBytes)
	}
	n := m.length.length(a.random)
	if asked, ok := lengthAsked(a.ask.last); ok {
		n = asked
	}
	if a.do.events > 0 {
		n = a.do.events
	}
	words := make([]string, n)
	for i := range words {
		words[i] = word(a.random, i)
	}
	return words
}

// Prefixes of the last user message that steer the answer.
const (
	echoPrefix = "echo:" // answer exactly the rest
	sayPrefix  = "say:"  // "say:120 ...": answer 120 tokens
	callPrefix = "call:" // "call:NAME": call that tool; "call:" any
)

// lengthAsked reads the number of a "say:" message.
func lengthAsked(last string) (int, bool) {
	rest, ok := strings.CutPrefix(last, sayPrefix)
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && n <= maxTokens
}

// toolCalls says which tools are called, nil for none.
func (a *answer) toolCalls() []tool {
	in, n := a.ask, max(a.do.toolCalls, 1)
	if wanted, ok := strings.CutPrefix(in.last, callPrefix); ok && len(in.tools) > 0 && in.toolChoice != "none" {
		return repeated(named(in.tools, strings.TrimSpace(wanted)), n)
	}
	switch {
	case a.do.toolCalls > 0 && len(in.tools) == 0:
		return repeated([]tool{{name: "lookup"}}, n)
	case a.do.toolCalls > 0, in.toolChoice == "required":
		return repeated(in.tools, n)
	case in.toolChoice != "" && in.toolChoice != "none":
		return repeated(named(in.tools, in.toolChoice), n)
	}
	return nil
}

// named is the tool of that name, or all if there is none.
func named(tools []tool, name string) []tool {
	for _, t := range tools {
		if t.name == name {
			return []tool{t}
		}
	}
	return tools
}

// repeated takes n tools in turn.
func repeated(tools []tool, n int) []tool {
	if len(tools) == 0 {
		return nil
	}
	out := make([]tool, n)
	for i := range out {
		out[i] = tools[i%len(tools)]
	}
	return out
}

// callPieces fills c.calls and gives their pieces: a first one with id and name, then the arguments.
func (a *answer) callPieces(c *choice, i int, tools []tool) []piece {
	perCall := make([][]piece, len(tools))
	for k, t := range tools {
		c.calls = append(c.calls, toolCall{id: fmt.Sprintf("call_%s_%d_%d", a.id, i, k), name: t.name})
		arguments := string(instance(t.schema))
		if a.do.shape == "split_escape" {
			arguments = `{"text":"a\"b\u00e9\\c"}`
		}
		perCall[k] = arrange(a.do.shape, i, k, arguments)
	}
	switch a.do.shape {
	case "interleaved":
		return interleave(perCall)
	case "reordered":
		for l, r := 0, len(perCall)-1; l < r; l, r = l+1, r-1 {
			perCall[l], perCall[r] = perCall[r], perCall[l]
		}
	}
	var pieces []piece
	for _, p := range perCall {
		pieces = append(pieces, p...)
	}
	return pieces
}

// arrange cuts one call's arguments into pieces as the shape wants them.
func arrange(shape string, choice, call int, arguments string) []piece {
	head := piece{kind: pieceCall, choice: choice, call: call, first: true, tokens: 1}
	size := callTokenBytes
	switch shape {
	case "whole":
		head.text = arguments
		return []piece{head}
	case "split_escape":
		size = 1 // so that every escape is cut in its middle
	}
	pieces := []piece{head}
	for _, part := range slicesOf(arguments, size) {
		pieces = append(pieces, piece{kind: pieceCall, choice: choice, call: call, text: part, tokens: 1})
	}
	return pieces
}

// callTokenBytes is how many bytes of JSON count as a token.
const callTokenBytes = 6

// slicesOf cuts text every size bytes, but never inside a character.
func slicesOf(text string, size int) []string {
	var out []string
	for len(text) > 0 {
		n := min(size, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

func textPieces(choice int, words []string) []piece {
	pieces := make([]piece, len(words))
	for i, w := range words {
		pieces[i] = piece{kind: pieceText, choice: choice, text: w, tokens: 1}
	}
	return pieces
}

// gather joins neighbours of one kind until an event has per tokens, and numbers the tokens.
func gather(pieces []piece, per int) []piece {
	var out []piece
	total := 0
	for _, p := range pieces {
		total += p.tokens
		p.last = total
		if n := len(out) - 1; n >= 0 && out[n].tokens < per && out[n].kind == p.kind && out[n].call == p.call && !p.first {
			out[n].text += p.text
			out[n].tokens += p.tokens
			out[n].last = total
			continue
		}
		out = append(out, p)
	}
	return out
}

// interleave takes one piece of each list in turn.
func interleave(lists [][]piece) []piece {
	if len(lists) == 1 {
		return lists[0]
	}
	var out []piece
	for i, more := 0, true; more; i++ {
		more = false
		for _, l := range lists {
			if i < len(l) {
				out = append(out, l[i])
				more = true
			}
		}
	}
	return out
}

// tokens cuts text at white space; each token but the first begins with the white space before it, so that the tokens
// put together are the text.
func tokens(text string) []string {
	var out []string
	start, inWord := 0, false
	for i, r := range text {
		space := unicode.IsSpace(r)
		if space && inWord {
			out = append(out, text[start:i])
			start = i
		}
		inWord = !space
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}

// words are what answers are made of. They mean nothing.
var words = strings.Fields(`water runs over the wheel and turns it slowly while a gate above holds back what the pool
has gathered through winter so every measure that passes is counted twice once by hand and again where stone meets iron`)

// word is the i-th token of an answer.
func word(r *rand.Rand, i int) string {
	w := words[r.IntN(len(words))]
	if i == 0 {
		return w
	}
	return " " + w
}

// generated is the number of tokens of the whole answer.
func (a *answer) generated() int {
	n := a.hidden
	for _, p := range a.pieces {
		n += p.tokens
	}
	return n
}

// usageAfter is the true usage when sent tokens have been generated.
func (a *answer) usageAfter(sent int) usage {
	u := usage{prompt: a.prompt, cached: a.cached, completion: sent, reasoning: a.hidden}
	generated := a.hidden
	for _, p := range a.pieces {
		if generated += p.tokens; generated > sent {
			break
		}
		if p.kind == pieceReasoning {
			u.reasoning += p.tokens
		}
	}
	u.reasoning = min(u.reasoning, sent)
	a.split(&u)
	return u
}

// split says what of a usage is what has rates of its own.
func (a *answer) split(u *usage) {
	of := func(whole int, share *float64) int {
		if share == nil {
			return 0
		}
		return int(math.Floor(float64(max(whole, 0)) * *share))
	}
	u.written = of(u.prompt-u.cached, a.do.written)
	u.hour = of(u.written, a.do.hour)
	u.heard = of(u.prompt-u.cached-u.written, a.do.heard)
	u.spoken = of(u.completion-u.reasoning, a.do.spoken)
	u.pictures = of(u.completion-u.reasoning-u.spoken, a.do.pictures)
	u.searches = a.do.searches
}

// parts are those that the bill has beside the wholes.
func (u usage) parts() llm.Parts {
	n := func(i int) int64 { return int64(i) }
	return llm.Parts{
		CacheWriteHour: n(u.hour), CacheWriteMinutes: n(u.written - u.hour), InputAudio: n(u.heard),
		OutputAudio: n(u.spoken), OutputImage: n(u.pictures), Searches: n(u.searches),
	}
}

// claimed is the usage that the provider insists on: the truth, or what zero and huge make of it.
func (a *answer) claimed(u usage) usage {
	switch {
	case a.do.usage == "zero":
		return usage{}
	case a.do.usage == "huge" && len(a.choices) == 0:
		u.prompt *= hugeFactor // an embedding has nothing else
	case a.do.usage == "huge":
		u.completion = hugeFactor * max(u.completion, a.ask.max, 1)
	}
	return u
}

// hugeFactor is by how much usage=huge is more than was asked for.
const hugeFactor = 10

// billed is what the provider charges for.
func (a *answer) billed() usage {
	u := a.claimed(a.usageAfter(a.sent))
	if a.do.bill != nil {
		u.completion = *a.do.bill
	}
	return u
}

// say gives the text of a choice of the given kind, whole, as a plain answer has it.
func (a *answer) say(choice int, kind pieceKind, call int) string {
	var b strings.Builder
	for _, p := range a.pieces {
		if p.choice == choice && p.kind == kind && p.call == call {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// emptyObject is what a tool without parameters is called with.
var emptyObject = json.RawMessage("{}")
