package audit

import (
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Config is the section audit of the file.
type Config struct {
	// Checkpoints is where signed checkpoints go besides the data directory: the point is a place that whoever can write
	// the store cannot.
	Checkpoints string        `yaml:"checkpoints" kind:"anchor" restart:"true" doc:"where signed checkpoints go besides audit.checkpoints in the data directory: file:PATH, or exec:COMMAND, which gets each on its standard input; no shell is between"`
	Every       time.Duration `yaml:"every" default:"10m" restart:"true" doc:"how soon a changed chain gets a checkpoint; sooner after 1,000 entries"`
	Verify      time.Duration `yaml:"verify" default:"1h" restart:"true" doc:"how often the whole chain is verified; what is new is verified within seconds"`
	Key         string        `yaml:"key" kind:"keyfile" restart:"true" doc:"the private key that signs checkpoints, in PEM, as file:PATH; by default audit.key in the data directory, made at the first start. Replicas that share it have one public key"`
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config { return Config{Every: 10 * time.Minute, Verify: time.Hour} }

// Bounds of the times of Config: below, a store is busy with nothing else.
const (
	minEvery  = time.Second
	minVerify = 10 * time.Second
)

// Validate reports all problems of the section.
func (c Config) Validate() (problems []fault.Problem) {
	if c.Checkpoints != "" {
		if _, err := newSink(c.Checkpoints); err != nil {
			problems = append(problems, fault.Problem{Path: "audit.checkpoints", Text: err.Error(), Hint: "write file:PATH or exec:COMMAND"})
		}
	}
	for _, bound := range []struct {
		path      string
		is, least time.Duration
	}{{"audit.every", c.Every, minEvery}, {"audit.verify", c.Verify, minVerify}} {
		if bound.is < bound.least {
			problems = append(problems, fault.Problem{
				Path: bound.path, Text: fmt.Sprintf("%v is too short", bound.is), Hint: fmt.Sprintf("write %v or more", bound.least),
			})
		}
	}
	return problems
}

// newSink makes what takes checkpoints at a place: file:PATH or exec:COMMAND.
func newSink(place string) (Sink, error) {
	scheme, rest, _ := strings.Cut(place, ":")
	switch rest = strings.TrimSpace(rest); {
	case scheme == "file" && rest != "":
		return fileSink(rest), nil
	case scheme == "exec" && rest != "":
		return execSink(strings.Fields(rest)), nil
	}
	return nil, fmt.Errorf("%q is not a place for checkpoints", place)
}
