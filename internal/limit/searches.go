package limit

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// What a provider searches for while it answers has a fee for each search, and what was found is read as a prompt, again and again: after
// each search there is another round. Both are bounded where the request caps the searches: max_uses of Anthropic's tool, max_tool_calls
// of a response.

const (
	// maxSearches is the highest cap that is taken for one.
	maxSearches = 1000
	// maxRounds is after how many rounds Anthropic's own loop pauses a turn. A search over max_uses fails, and has a round, too.
	maxRounds = 10
)

// rounds are the bounds of a call whose provider searches.
type rounds struct {
	searches int64
	reads    int64 // how often a prompt is read, of as much as the model can at most
	answers  int64 // how often the cap on what is generated may hold anew
}

// searchesOf bounds the searches of a request. ok is false if it has none, or none that are bounded, or other tools that its provider
// runs for a price.
func searchesOf(r *llm.Request) (n rounds, ok bool) {
	if paidMember(r) != "" || !filled(r.Field("tools"), '[') {
		return n, false
	}
	var tools []struct {
		Type string `json:"type"`
		Name string `json:"name"`
		Uses int64  `json:"max_uses"`
	}
	if json.Unmarshal(r.Field("tools"), &tools) != nil {
		return n, false
	}
	for _, t := range tools {
		switch search := strings.HasPrefix(t.Type, "web_search"); {
		case t.Type == "" && t.Name != "" || t.Type != "" && isFree(t.Type):
		case !search:
			return n, false
		case r.Dialect == llm.Anthropic:
			if t.Uses < 1 || t.Uses > maxSearches {
				return n, false
			}
			n.searches += t.Uses
		case r.Dialect != llm.Responses:
			return n, false
		default:
			n.searches = -1
		}
	}
	switch {
	case n.searches > maxSearches || n.searches == 0:
		return n, false
	case n.searches > 0:
		n.reads = max(n.searches, maxRounds) + 1
		n.answers = n.reads
		return n, true
	}
	if json.Unmarshal(r.Field("max_tool_calls"), &n.searches) != nil || n.searches < 1 || n.searches > maxSearches {
		return n, false
	}
	n.reads, n.answers = n.searches+2, 1 // what is tried over the cap is taken no notice of
	return n, true
}

// roundsOf is how often the cap of a try may hold anew: as often as it was reserved for.
func roundsOf(x *pipeline.Exchange, try *pipeline.Try) int64 {
	if try.Price == nil || try.Price.May.Searches == 0 {
		return 1
	}
	n, _ := searchesOf(x.Request)
	return max(n.answers, 1)
}
