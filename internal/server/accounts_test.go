package server

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/quota"
)

// Fault 42: whoever is on call is told which credential it is, and for how long.
func TestLookoutTellsOfCredentialsThatAreOut(t *testing.T) {
	t.Parallel()
	if quota.Refused != string(provider.ClassCredential) || quota.Exhausted != string(provider.ClassQuota) {
		t.Error("the two packages have other words")
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t)
		l.tally = newTally()
		l.quotas = quota.New(quota.Options{Random: func() float64 { return 0 }})
		two := l.quotas.Account(quota.Provider{Name: "two", References: []string{"env:A", "env:B"}})
		one := l.quotas.Account(quota.Provider{Name: "one", References: []string{"file:key"}})
		l.quotas.Use(map[string]*quota.Account{"two": two, "one": one}, nil)
		look := func() { l.alerts.ClearOthers("credential_refused", l.lookAtAccounts()) }
		expect(t, "all is well", l.open(look))
		fail := func(a *quota.Account, index int, class provider.Class) {
			ticket := a.Take(time.Now(), index, "m", quota.Need{Requests: 1})
			ticket.Failed(time.Now(), quota.Failure{Class: string(class)})
		}
		fail(two, 1, provider.ClassCredential)
		fail(two, 0, provider.ClassQuota)
		fail(one, 0, provider.ClassQuota)
		expect(t, "three are out", l.open(look), "credential_refused two env:B", "quota_exhausted one", "quota_exhausted two env:A")
		for _, a := range l.alerts.Open() {
			if a.Object == "one" && !strings.Contains(a.Text, "file:key") || strings.HasPrefix(a.Object, "two") != strings.Contains(a.Text, "go on") {
				t.Errorf("%s: %s", a.Object, a.Text)
			}
		}
		l.quotas.Enable("two", 0)
		ticket := one.Take(time.Now(), 0, "m", quota.Need{Requests: 1})
		ticket.Failed(time.Now(), quota.Failure{Class: string(provider.ClassQuota)})
		expect(t, "one is still out", l.open(look), "quota_exhausted one")
	})
}
