package route

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// ruleHint says where the language of rules is described.
const ruleHint = "docs/routing.md lists what can be asked"

// A rule changes the choice for the requests for which it holds.
type rule struct {
	name   string
	holds  cel.Program
	policy policy
	only   []bool // by place; nil is all
}

// Bounds of an expression: what it costs at the worst, in CEL's units, of which a comparison is about one, and its length. With
// them no rule takes longer than about a tenth of a millisecond.
const (
	maxRuleCost  = 20_000
	maxRuleBytes = 2_000
)

// ruleFacts are what an expression can ask for, and what for.
var ruleFacts = []struct {
	name string
	typ  *cel.Type
}{
	{"model", cel.StringType},                                 // the name that was asked for
	{"operation", cel.StringType},                             // chat, embeddings, moderations
	{"dialect", cel.StringType},                               // the client's
	{"tokens", cel.IntType},                                   // of the prompt, roughly
	{"max_output", cel.IntType},                               // the client's cap, 0 if none
	{"stream", cel.BoolType},                                  //
	{"has_tools", cel.BoolType},                               //
	{"has_images", cel.BoolType},                              //
	{"has_audio", cel.BoolType},                               //
	{"has_files", cel.BoolType},                               //
	{"tags", cel.ListType(cel.StringType)},                    // of X-Penstock-Tags
	{"metadata", cel.MapType(cel.StringType, cel.StringType)}, // of the body
	{"class", cel.StringType},                                 // priority, default, flex
	{"user", cel.StringType},                                  // of the body
	{"org", cel.StringType},                                   //
	{"project", cel.StringType},                               // its name
	{"labels", cel.MapType(cel.StringType, cel.StringType)},   // of the project
	{"key", cel.StringType},                                   // its name
	{"region", cel.StringType},                                // where this Penstock is
	{"hour", cel.IntType},                                     // of the day, in UTC
	{"weekday", cel.IntType},                                  // 1 is Monday
	{"now", cel.TimestampType},                                //
}

// ruleEnv is the environment of all rules.
var ruleEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{cel.OptionalTypes(), cel.ParserExpressionSizeLimit(maxRuleBytes), cel.ParserRecursionLimit(50)}
	for _, f := range ruleFacts {
		options = append(options, cel.Variable(f.name, f.typ))
	}
	return cel.NewEnv(options...)
})

// compileRule checks an expression and what it costs at the worst. Errors are one line.
func compileRule(text string) (cel.Program, error) {
	env, err := ruleEnv()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		list := issues.Errors()
		if len(list) == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("character %d: %s", list[0].Location.Column()+1, strings.ReplaceAll(list[0].Message, "\n", " "))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("is %s, not true or false", ast.OutputType())
	}
	estimate, err := env.EstimateCost(ast, ruleSizes{})
	if err != nil {
		return nil, err
	}
	if estimate.Max > maxRuleCost {
		return nil, fmt.Errorf("could cost %d steps, more than %d", estimate.Max, uint64(maxRuleCost))
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxRuleCost))
}

// ruleSizes bounds what expressions work on.
type ruleSizes struct{}

// EstimateSize implements [cost.Estimator].
func (ruleSizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	const text, list = 256, 64
	most := uint64(text)
	if path := node.Path(); len(path) == 1 && (path[0] == "tags" || path[0] == "metadata" || path[0] == "labels") {
		most = list
	}
	return &cost.SizeEstimate{Min: 0, Max: most}
}

// EstimateCallCost implements [cost.Estimator].
func (ruleSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func newRule(i int, r RuleConfig, targets []TargetConfig, otherwise policy) rule {
	holds, err := compileRule(r.If)
	if err != nil {
		panic("route: a rule that was not validated: " + err.Error())
	}
	out := rule{name: r.Name, holds: holds, policy: otherwise}
	if out.name == "" {
		out.name = fmt.Sprintf("%d", i+1)
	}
	if r.Route != "" {
		out.policy = policyOf(r.Route)
	}
	out.only = placesOf(r.Only, targets)
	return out
}

// placesOf says of each target whether one of the words stands for it; nil if there are none.
func placesOf(words []string, targets []TargetConfig) []bool {
	if len(words) == 0 {
		return nil
	}
	only := make([]bool, len(targets))
	for j := range targets {
		only[j] = slices.ContainsFunc(words, targets[j].is)
	}
	return only
}

// apply lets the first rule that holds change the choice. One that cannot be worked out, because a request lacks what it asks
// for, does not hold, and the record says so.
func (c *choosing) apply(rules []rule) {
	for i := range rules {
		r := &rules[i]
		held, _, err := r.holds.ContextEval(context.Background(), &activation{c: c})
		if err != nil {
			c.x.Note("route", "the rule "+r.name+" could not be worked out: "+err.Error(), 0)
			continue
		}
		if held.Value() != true {
			continue
		}
		c.follow(r)
		return
	}
}

func (c *choosing) follow(r *rule) {
	c.rule, c.policy = r.name, r.policy
	for j := range c.all {
		if one := &c.all[j]; r.only != nil && !r.only[one.origin] {
			one.exclude(byRule, "not among those of the rule "+r.name)
		}
	}
}

// spare lets a pool's when_low hold if a budget of the caller runs out: it goes before all other rules.
func (c *choosing) spare() bool {
	low, used := c.pool.low, 0
	if low == nil {
		return false
	}
	if c.x.Allowance != nil {
		used = c.x.Allowance.Low()
	}
	if used < c.pool.lowAt {
		return false
	}
	if most := c.pool.lowOutput; most > 0 && (c.x.OutputCap == 0 || most < c.x.OutputCap) {
		c.x.OutputCap = most
	}
	c.x.Note("budget", strconv.Itoa(used)+"% of a budget is used: when_low holds", 0)
	c.follow(low)
	return true
}

// An activation gives an expression the facts that it asks for, and finds out no others.
type activation struct{ c *choosing }

// Parent implements [cel.Activation].
func (*activation) Parent() cel.Activation { return nil }

// ResolveName implements [cel.Activation].
func (a *activation) ResolveName(name string) (any, bool) {
	x, r := a.c.x, a.c.x.Request
	switch name {
	case "model":
		return r.Model, true
	case "operation":
		return string(x.Op), true
	case "dialect":
		return string(x.Dialect), true
	case "tokens":
		return a.c.facts.tokens, true
	case "max_output":
		return r.MaxOutput, true
	case "stream":
		return r.Stream, true
	case "has_tools":
		return a.has(needsTools), true
	case "has_images":
		return a.has(needsVision), true
	case "has_audio":
		return a.has(needsAudio), true
	case "has_files":
		return a.has(needsPDF), true
	case "tags":
		return x.Tags, true
	case "metadata":
		return metadata(r), true
	case "class":
		if x.Class == "" {
			return "default", true
		}
		return x.Class, true
	case "user":
		return r.User, true
	case "region":
		return a.c.r.o.Table.around.Region, true
	}
	return a.more(name)
}

func (a *activation) more(name string) (any, bool) {
	now := a.c.x.Time
	if now.IsZero() {
		now = a.c.x.Received
	}
	switch now = now.UTC(); name {
	case "hour":
		return int64(now.Hour()), true
	case "weekday":
		return int64((now.Weekday()+6)%7) + 1, true
	case "now":
		return now, true
	}
	caller := a.c.x.Caller
	if caller == nil {
		caller = &pipeline.Caller{}
	}
	switch {
	case name == "org":
		return caller.Org, true
	case name == "project":
		return caller.ProjectName, true
	case name == "key":
		return caller.KeyName, true
	case name == "labels":
		return caller.Labels, true
	}
	return nil, false
}

func (a *activation) has(n needs) bool { return a.c.facts.asks(n) != 0 }

// metadata is the body's, as far as it is text.
func metadata(r *llm.Request) map[string]string {
	out := map[string]string{}
	var all map[string]json.RawMessage
	if json.Unmarshal(r.Field("metadata"), &all) != nil {
		return out
	}
	for name, value := range all {
		var text string
		if json.Unmarshal(value, &text) == nil {
			out[name] = text
		}
	}
	return out
}
