package retention

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
)

// Config is the section of the file that retention owns.
type Config struct {
	Records string `yaml:"records" kind:"span" default:"400d" doc:"how long the record of an exchange is kept, at least 1d; sums of usage and money outlive it; forever keeps all"`
}

// Forever is the span of what is never deleted.
const Forever = "forever"

// least keeps a slip from deleting everything: nobody means to keep records for minutes.
const least = 24 * time.Hour

// Keep is how long records are kept, 0 for ever.
func (c Config) Keep() time.Duration {
	d, _ := figure.ParseSpan(c.Records) // 0 of what is none, which Validate has let through for Forever only
	return d
}

// Validate reports all problems of the section.
func (c Config) Validate() []fault.Problem {
	bad := func(format string, args ...any) []fault.Problem {
		return []fault.Problem{{Path: "retention.records", Text: fmt.Sprintf(format, args...), Hint: "write days such as 400d, or forever"}}
	}
	if c.Records == Forever {
		return nil
	}
	switch d, ok := figure.ParseSpan(c.Records); {
	case !ok:
		return bad("%q is not a span of time", c.Records)
	case d < least:
		return bad("%s is less than a day, and nothing would be left to look at", c.Records)
	}
	return nil
}
