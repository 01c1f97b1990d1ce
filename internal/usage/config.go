package usage

import (
	"fmt"

	"github.com/penstock/penstock/internal/fault"
)

// Whether records are kept.
const (
	RecordsOn  = "on"
	RecordsOff = "off" // metrics and log lines only: for benchmarks
)

// Config is the section of the file that usage owns.
type Config struct {
	Records string `yaml:"records" enum:"on,off" default:"on" restart:"true" doc:"the durable record of every exchange; off is for benchmarks only"`
}

// Off reports whether no records are kept.
func (c Config) Off() bool { return c.Records == RecordsOff }

// Validate reports all problems of the section.
func (c Config) Validate() []fault.Problem {
	switch c.Records {
	case "", RecordsOn, RecordsOff:
		return nil
	}
	return []fault.Problem{{Path: "records", Text: fmt.Sprintf("%q is not a choice", c.Records), Hint: "write on or off"}}
}
