package usage

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A ChoiceView is how the first target of an exchange was chosen, in words, for command line and console.
type ChoiceView struct {
	Policy string // with the rule, if one decided
	Head   []string
	Rows   []ChoiceRow
	// Stage is which of the record's stages says that the choice was made; -1 if none does.
	Stage int
	// Plain says that the targets were to be asked in the order of the configuration, and that none was left out: then a list
	// of them says as much.
	Plain bool
}

// A ChoiceRow is a target as the choice saw it. All but its name are Penstock's words.
type ChoiceRow struct {
	Target, Eligible, Reason, Score, Probability string
}

// Cells are the row in the order of the head.
func (c *ChoiceRow) Cells() []string {
	return []string{c.Target, c.Eligible, c.Reason, c.Score, c.Probability}
}

// The policies, as records name them.
const (
	failover = "failover"
	weighted = "weighted"
	fastest  = "fastest"
	cheapest = "cheapest"
)

// scores say what a policy goes by.
var scores = map[string]string{failover: "place", weighted: "weight", fastest: "expected time", cheapest: "cost"}

// ChoiceView is nil if there was nothing to choose.
func (r *Record) ChoiceView() *ChoiceView {
	c := r.Choice
	if c == nil {
		return nil
	}
	score := scores[c.Policy]
	if score == "" {
		score = "score"
	}
	v := &ChoiceView{Policy: c.Policy, Stage: slices.IndexFunc(r.Stages, func(d pipeline.Decision) bool {
		return d.Stage == "route" && strings.HasPrefix(d.Decision, c.Policy)
	})}
	v.Head = []string{"target", "eligible", "reason", score, "probability"}
	if c.Rule != "" {
		v.Policy += " by the rule " + c.Rule
	}
	v.Plain = c.Policy == failover && c.Rule == ""
	for i := range c.Candidates {
		one := &c.Candidates[i]
		row := ChoiceRow{Target: one.Target, Eligible: "yes", Score: scoreWords(c, one), Probability: figure.Percent(int64(one.Probability*1e9), 1e9)}
		if one.Excluded != "" {
			row.Eligible, row.Reason, row.Score, row.Probability = "no", one.Excluded, figure.None, figure.None
		}
		v.Plain = v.Plain && one.Excluded == "" && (one.Probability == 1) == (i == 0)
		v.Rows = append(v.Rows, row)
	}
	return v
}

// scoreWords are what the policy went by. Nobody is measured who is the only one left.
func scoreWords(c *pipeline.Choice, one *pipeline.Candidate) string {
	left := 0
	for i := range c.Candidates {
		if c.Candidates[i].Excluded == "" {
			left++
		}
	}
	s := one.Score
	if left < 2 || math.IsNaN(s) || s < 0 || s > 1e15 || s == 0 && c.Policy != weighted {
		return figure.None
	}
	switch c.Policy {
	case fastest:
		return figure.Duration(time.Duration(min(s, 1e9) * float64(time.Second)))
	case cheapest:
		return figure.Money(llm.Money(math.Round(s)))
	}
	return strconv.FormatFloat(s, 'f', -1, 64)
}

// WayWords say what of a try is not said by its target: that it is a hedge, which server was asked, and by which of the
// provider's credentials; "" if there is but one of each.
func WayWords(t *pipeline.Try) string {
	var words []string
	if t.Hedge {
		words = append(words, "hedge: sent beside the try before it, whose first token was late")
	}
	if t.Endpoint != "" {
		words = append(words, "server "+t.Endpoint)
	}
	if t.Credential > 0 {
		words = append(words, fmt.Sprintf("credential %d", t.Credential))
	}
	return strings.Join(words, ", ")
}

// outrun reports whether a try was cancelled because the other of the two that raced for the first token had it.
func (r *Record) outrun(t *pipeline.Try) bool {
	return t.Reason == canceled && r.Error == nil && r.hedged()
}

const canceled = "canceled"

func (r *Record) hedged() bool {
	return slices.ContainsFunc(r.Tries, func(t pipeline.Try) bool { return t.Hedge })
}

// raceWords say how a race for the first token ended; "" if there was none, or nobody was outrun.
func (r *Record) raceWords() string {
	for i := range r.Tries {
		if t := &r.Tries[i]; r.outrun(t) {
			if t.Hedge {
				return fmt.Sprintf(" The first token was late, so %s was asked beside it, and was later still.", t.Target)
			}
			return fmt.Sprintf(" %s was late with its first token, so %s was asked beside it, and was first.", t.Target, r.Target)
		}
	}
	return ""
}
