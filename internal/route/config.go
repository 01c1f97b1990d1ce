package route

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// The policies: how the order of a model's targets comes about.
const (
	// Failover tries the targets in their order.
	Failover = "failover"
	// Weighted draws the target, each as often as its weight says.
	Weighted = "weighted"
	// Fastest takes the target that is expected to send its first token soonest.
	Fastest = "fastest"
	// Cheapest takes the target that is expected to cost least for this request.
	Cheapest = "cheapest"
)

// Policies are all of them, in the order of the documentation.
func Policies() []string { return []string{Failover, Weighted, Fastest, Cheapest} }

// A ModelConfig is what answers for one name that clients ask for.
type ModelConfig struct {
	Targets []TargetConfig `yaml:"targets" doc:"PROVIDER/MODEL, or a section where more is to be said of a target"`
	Route   string         `yaml:"route" enum:"failover,weighted,fastest,cheapest" default:"failover" doc:"how the first target is chosen, and the order of the others: as they stand, by weight, by the expected time to the first token, or by the expected cost of this request"`
	Rules   []RuleConfig   `yaml:"rules" doc:"for some requests, another choice; the first rule that holds counts"`
	// Tries are attempts over all targets and layers.
	Tries     int           `yaml:"tries" range:"1,10" default:"4" doc:"most attempts for one call, over all targets"`
	RetryWait time.Duration `yaml:"retry_wait" zero:"true" default:"5s" doc:"the longest that a call waits for a target that has failed, or asks to wait, if no other is left; what would take longer is answered at once, with Retry-After"`
	Hedge     HedgeConfig   `yaml:"hedge" doc:"a second request to another target if the first token is late; off unless share is set"`
	MaxOutput int           `yaml:"max_output" range:"0,10000000" default:"0" doc:"the cap on generated tokens, reasoning included, of calls that name none, where a budget or a tier needs one; 0 is 4096, or what the model can generate at most if that is less"`
	WhenLow   WhenLowConfig `yaml:"when_low" doc:"what answers instead of refusals while a budget of the caller runs out"`
	// Refusals of the request itself go to the targets that are named for them, and to no other.
	OnContextLength []string `yaml:"on_context_length" doc:"PROVIDER/MODEL to ask, in this order, where a target says that the prompt is too long for it"`
	OnContentPolicy []string `yaml:"on_content_policy" doc:"PROVIDER/MODEL to ask, in this order, where a target refuses the content; without any, the refusal is the answer"`
}

// A TargetConfig is one target of a model. In the file it is PROVIDER/MODEL alone, or a section.
type TargetConfig struct {
	Target  string   `yaml:"target" short:"true" doc:"PROVIDER/MODEL"`
	Weight  int      `yaml:"weight" range:"0,10000" default:"1" doc:"how often it is chosen, against the weights of the others; 0 is only for when the others fail"`
	Tags    []string `yaml:"tags" doc:"words of your own, for rules"`
	Region  string   `yaml:"region" doc:"where the data goes; by default the provider's region"`
	Private *bool    `yaml:"private" doc:"the data stays with you; by default as the provider says"`
	// Slots are for servers of one's own: hosted APIs do not say.
	Slots int `yaml:"slots" range:"0,100000" default:"0" doc:"how many calls one server of it answers at once: more are not sent to it at first, and fastest reckons with them; 0 is not known, and is measured"`
}

// Targets makes target configurations of PROVIDER/MODEL.
func Targets(all ...string) []TargetConfig {
	list := make([]TargetConfig, len(all))
	for i, t := range all {
		list[i] = TargetConfig{Target: t, Weight: 1}
	}
	return list
}

// A HedgeConfig says when a second target is asked beside the first.
type HedgeConfig struct {
	Share string `yaml:"share" kind:"share" doc:"the most of a model's calls that are hedged, such as 2%; without it none are. Calls with tools never are"`
	Most  string `yaml:"most_cost" kind:"decimal" doc:"the most that the second request may be expected to cost, in US dollars, such as 0.01; of a target without a price that is not known, so it is not asked. By default there is no bound but share"`
}

// A WhenLowConfig says what becomes of calls whose budget is nearly used.
type WhenLowConfig struct {
	At   string   `yaml:"at" kind:"share" doc:"from which share of a budget on, settled and unknown together, such as 90%"`
	Only []string `yaml:"only" doc:"the targets then: PROVIDER/MODEL, PROVIDER/* or tag:WORD of the model's; by default all"`
	// MaxOutput lowers the cap of calls that want more, or name none.
	MaxOutput int `yaml:"max_output" range:"0,10000000" default:"0" doc:"the cap on generated tokens then; 0 leaves it"`
}

// A RuleConfig changes the choice for some requests.
type RuleConfig struct {
	If    string   `yaml:"if" doc:"a CEL expression over the facts of a request: model, tokens, stream, has_tools, has_images, tags, project, labels, key, user, class, metadata, region, hour, weekday"`
	Name  string   `yaml:"name" doc:"what records call it; by default its place"`
	Route string   `yaml:"route" enum:"failover,weighted,fastest,cheapest" doc:"the policy then; by default the model's"`
	Only  []string `yaml:"only" doc:"the targets then: PROVIDER/MODEL, PROVIDER/* or tag:WORD; by default all"`
}

// Config are the models by the name that clients ask for.
type Config map[string]ModelConfig

// Validate reports all problems within the section; whether the named providers exist is for the whole file to say.
func (c Config) Validate() []fault.Problem {
	v := &validator{}
	for name, m := range c {
		v.model("models."+name, m)
	}
	return v.problems
}

type validator struct{ problems []fault.Problem }

func (v *validator) add(path, hint, format string, args ...any) {
	v.problems = append(v.problems, fault.Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (v *validator) model(path string, m ModelConfig) {
	if len(m.Targets) == 0 {
		v.add(path+".targets", "name at least one PROVIDER/MODEL", "no targets")
	}
	v.policy(path+".route", m.Route)
	names := make([]string, len(m.Targets))
	for i, t := range m.Targets {
		names[i] = t.Target
	}
	v.targets(path+".targets", names)
	v.targets(path+".on_context_length", m.OnContextLength)
	v.targets(path+".on_content_policy", m.OnContentPolicy)
	v.weights(path, m)
	if _, err := ParseShare(m.Hedge.Share); err != nil {
		v.add(path+".hedge.share", "write a share such as 2%", "%s", err)
	} else if m.Hedge.Share != "" && len(m.Targets) < 2 {
		v.add(path+".hedge.share", "add a target, or remove it", "there is no other target to ask")
	}
	if m.Hedge.Most != "" {
		if _, err := llm.ParseMoney(m.Hedge.Most); err != nil {
			v.add(path+".hedge.most_cost", "write dollars, such as 0.01", "%s", err)
		} else if m.Hedge.Share == "" {
			v.add(path+".hedge.most_cost", "add share, such as 2%", "nothing is hedged")
		}
	}
	v.whenLow(path+".when_low", m)
	for i, r := range m.Rules {
		v.rule(fmt.Sprintf("%s.rules[%d]", path, i), r, m)
	}
}

func (v *validator) policy(path, name string) {
	if name != "" && !slices.Contains(Policies(), name) {
		v.add(path, "write "+strings.Join(Policies(), ", "), "%q is not in this version", name)
	}
}

func (v *validator) targets(path string, all []string) {
	for i, target := range all {
		at := fmt.Sprintf("%s[%d]", path, i)
		if target == "" {
			v.add(at, "write PROVIDER/MODEL, or {target: PROVIDER/MODEL, ...}", "names no target")
		} else if _, ok := llm.ParseTarget(target); !ok {
			v.add(at, "write PROVIDER/MODEL", "%q is not a target", target)
		}
		if slices.Contains(all[:i], target) {
			v.add(at, "each stands once; remove one", "%q is there twice", target)
		}
	}
}

func (v *validator) weights(path string, m ModelConfig) {
	sum := 0
	for _, t := range m.Targets {
		sum += t.Weight
	}
	if sum == 0 && len(m.Targets) > 0 {
		v.add(path+".targets", "give one a weight", "no target has a weight")
	}
}

func (v *validator) rule(path string, r RuleConfig, m ModelConfig) {
	if r.If == "" {
		v.add(path+".if", `write an expression, such as tokens > 8000`, "is missing")
	} else if _, err := compileRule(r.If); err != nil {
		v.add(path+".if", ruleHint, "%s", err)
	}
	v.policy(path+".route", r.Route)
	if r.Route == "" && len(r.Only) == 0 {
		v.add(path, "give it route, or only", "the rule changes nothing")
	}
	v.only(path, r.Only, m)
}

func (v *validator) whenLow(path string, m ModelConfig) {
	low := m.WhenLow
	changes := len(low.Only) > 0 || low.MaxOutput > 0
	if share, err := ParseShare(low.At); err != nil {
		v.add(path+".at", "write a share such as 90%", "%s", err)
	} else if share == 0 && (changes || low.At != "") {
		v.add(path+".at", "write from which share of a budget on, such as 90%", "is missing")
	} else if share > 0 && !changes {
		v.add(path, "give it only, or max_output", "changes nothing")
	}
	v.only(path, low.Only, m)
}

// only checks words that choose among the model's targets.
func (v *validator) only(path string, words []string, m ModelConfig) {
	for i, only := range words {
		if !slices.ContainsFunc(m.Targets, func(t TargetConfig) bool { return t.is(only) }) {
			v.add(fmt.Sprintf("%s.only[%d]", path, i), "write PROVIDER/MODEL, PROVIDER/* or tag:WORD", "no target of the model is %q", only)
		}
	}
}

// is reports whether a word of only stands for the target.
func (t *TargetConfig) is(only string) bool {
	if tag, ok := strings.CutPrefix(only, "tag:"); ok {
		return slices.Contains(t.Tags, tag)
	}
	return llm.MatchName(only, t.Target)
}

// ParseShare reads "2%" or "0.02"; "" is 0.
func ParseShare(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(s, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) { // so written, it also catches NaN
		return 0, fmt.Errorf("%q is not a share", s)
	}
	return share, nil
}
