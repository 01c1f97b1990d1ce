package provider

import (
	"net/url"
	"regexp"

	"github.com/penstock/penstock/internal/llm"
)

// regionForm is what regions of AWS are called: us-east-1, us-gov-west-1.
const regionForm = `[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}`

var (
	region = regexp.MustCompile(`^` + regionForm + `$`)
	// bedrockHost is where Bedrock's models are called: publicly, or through an endpoint in one's own network.
	bedrockHost = regexp.MustCompile(`(?:^|\.)bedrock-runtime(?:-fips)?\.(` + regionForm + `)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)$`)
)

// bedrockBase is where Bedrock's API begins in a region.
func bedrockBase(region string) string { return "https://bedrock-runtime." + region + ".amazonaws.com" }

// SigningRegion is the region that requests are signed for: the address's own, else the configured one; "" for dialects without
// signatures, and where neither is one.
func (c Config) SigningRegion() string {
	if c.Dialect != llm.Bedrock {
		return ""
	}
	if u, err := url.Parse(c.BaseURL); err == nil {
		if m := bedrockHost.FindStringSubmatch(u.Hostname()); m != nil {
			return m[1]
		}
	}
	if region.MatchString(c.Region) {
		return c.Region
	}
	return ""
}

// validateBedrock looks for the region, without which there is neither an address nor a signature.
func (c Config) validateBedrock(add func(key, text, hint string)) {
	if c.Dialect != llm.Bedrock || c.SigningRegion() != "" {
		return
	}
	text := "is missing"
	if c.Region != "" {
		text = "is no region of AWS"
	}
	add("region", text, "such as us-east-1: it is part of the address and of signatures")
}
