package route

import (
	"fmt"
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Failover tries the targets in their order.
const Failover = "failover"

// A ModelConfig is what answers for one name that clients ask for.
type ModelConfig struct {
	// Targets are PROVIDER/MODEL, tried in this order, each at most once.
	Targets []string `yaml:"targets" doc:"PROVIDER/MODEL, tried in this order, each at most once"`
	// Route says how the order comes about; failover is the default and the only one in this version.
	Route string `yaml:"route" doc:"how the order of the targets comes about" default:"failover"`
}

// Config are the models by the name that clients ask for.
type Config map[string]ModelConfig

// Validate reports all problems within the section; whether the named providers exist is for the whole file to say.
func (c Config) Validate() []fault.Problem {
	var list []fault.Problem
	add := func(path, hint, format string, args ...any) {
		list = append(list, fault.Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: hint})
	}
	for name, m := range c {
		path := "models." + name
		if len(m.Targets) == 0 {
			add(path+".targets", "name at least one PROVIDER/MODEL", "no targets")
		}
		if m.Route != "" && m.Route != Failover {
			add(path+".route", "write failover", "%q is not in this version", m.Route)
		}
		for i, target := range m.Targets {
			at := fmt.Sprintf("%s.targets[%d]", path, i)
			if _, ok := llm.ParseTarget(target); !ok {
				add(at, "write PROVIDER/MODEL", "%q is not a target", target)
			}
			if slices.Contains(m.Targets[:i], target) {
				add(at, "each target is tried once; remove one", "%q is there twice", target)
			}
		}
	}
	return list
}
