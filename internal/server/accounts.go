package server

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/quota"
)

// accountOf is the account at a provider of a configuration.
func (s *Server) accountOf(name string, cfg provider.Config, c *client) *quota.Account {
	return s.quotas.Account(quota.Provider{
		Name: name, References: cfg.References(), Mark: c.CredentialMark,
		AtOnce: cfg.Dialect == llm.OpenAI || cfg.Dialect == llm.Azure, // max_tokens counts when the call comes
	})
}

// lookAtAccounts tells of credentials that are out of use. Of the only one of a provider that is refused, the tally tells.
func (l *lookout) lookAtAccounts() (refused map[string]bool) {
	refused = map[string]bool{}
	exhausted := map[string]bool{}
	for _, out := range l.quotas.Outs() {
		object, whose := out.Provider, ""
		if out.Of > 1 {
			object, whose = out.Provider+" "+out.Reference, " The other credentials go on."
		}
		until := fmt.Sprintf(" One call tries it at %s.%s", out.Until.UTC().Format(time.TimeOnly+" UTC"), whose)
		switch {
		case out.Class == quota.Exhausted:
			exhausted[object] = true
			l.alerts.Report(alert.QuotaExhausted, object, "The account of "+orNone(out.Reference)+" has nothing left to spend: the credential is out of use."+until)
		case out.Of > 1:
			refused[object] = true
			l.alerts.Report(alert.CredentialRefused, object, "The provider refuses "+out.Reference+", or it cannot be read: it is out of use."+until)
		}
	}
	l.alerts.ClearOthers(alert.QuotaExhausted, exhausted)
	return refused
}

func orNone(reference string) string {
	if reference == "" {
		return "no credential"
	}
	return reference
}
