package alert

import (
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Config is the section alerts of the file.
type Config struct {
	Webhook  string        `yaml:"webhook" kind:"webhook" doc:"who is told: https://HOST/PATH (http:// on this machine only), or a reference to it, which is the place for a URL that holds a token; without, nobody"`
	Secret   string        `yaml:"secret" kind:"reference" doc:"what messages are signed with: whsec_ and 24 to 64 bytes in base64, as env:NAME or file:PATH; several on lines of their own all sign, for a change of it"`
	Format   string        `yaml:"format" enum:"penstock,slack" default:"penstock" doc:"the body: penstock is that of docs/alerts.md, slack one line of text"`
	Repeat   time.Duration `yaml:"repeat" zero:"true" default:"4h" doc:"how often one is reminded of an alert that lasts; 0 is never"`
	Instance string        `yaml:"instance" doc:"what this replica is called in alerts; by default the host's name"`
	Runbooks string        `yaml:"runbooks" kind:"url" doc:"where your own runbooks are; the kind follows behind a #; by default docs/reference/alerts.md"`
	// DiskFree and Backlog are bytes.
	DiskFree   int64         `yaml:"disk_free" kind:"bytes" zero:"true" default:"1GB" doc:"tell when the disk of the data directory has less free"`
	Backlog    int64         `yaml:"backlog" kind:"bytes" default:"64MB" doc:"tell when more than this waits in the journal for the store"`
	BacklogAge time.Duration `yaml:"backlog_age" default:"60s" doc:"tell when a record has waited longer for the store"`
}

// Formats of the body.
const (
	FormatPenstock = "penstock"
	FormatSlack    = "slack"
)

// minRepeat is the shortest Config.Repeat: below, reminders are noise.
const minRepeat = time.Minute

// Validate reports all problems of the section.
func (c Config) Validate() []fault.Problem {
	var found []fault.Problem
	add := func(key, text, hint string) {
		found = append(found, fault.Problem{Path: "alerts." + key, Text: text, Hint: hint})
	}
	switch {
	case c.Webhook != "" && c.Secret == "" && c.Format != FormatSlack:
		add("secret", "is missing: nobody could tell whose the messages are",
			`write file:PATH, and make it with: echo "whsec_$(openssl rand -base64 32)" > PATH`)
	case c.Webhook == "" && c.Secret != "":
		add("webhook", "is missing", "write https://HOST/PATH or env:NAME, or remove the secret")
	}
	if c.Repeat != 0 && c.Repeat < minRepeat {
		add("repeat", c.Repeat.String()+" is too often", "write 1m or more, or 0 for no reminders")
	}
	return found
}
