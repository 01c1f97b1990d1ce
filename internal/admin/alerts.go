package admin

import (
	"context"
	"time"
)

// An Alert is one trouble that people are told of.
type Alert struct {
	ID       string    `json:"id"`       // of this trouble, from raised to resolved
	Kind     string    `json:"kind"`     // stable; listed in docs/reference/alerts.md
	Severity string    `json:"severity"` // critical, warning or info
	State    string    `json:"state"`    // what was told last: raised or still
	Object   string    `json:"object"`   // what it is about, such as a provider; "" for the whole process
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	Runbook  string    `json:"runbook"`
	Instance string    `json:"instance"` // which replica
}

// An AlertTest is what became of a test.
type AlertTest struct {
	ID        string `json:"id"`             // of the alert that was sent
	Delivered bool   `json:"delivered"`      // the receiver took it
	Error     string `json:"error,omitzero"` // why it did not
	Instance  string `json:"instance"`       // which replica sent it
}

func (a *API) listAlerts(context.Context, *call) (list[Alert], error) {
	out := list[Alert]{Data: []Alert{}}
	for _, o := range a.o.Alerts.Open() {
		out.Data = append(out.Data, Alert{
			ID: o.ID, Kind: string(o.Kind), Severity: string(o.Severity), State: string(o.State), Object: o.Object, Text: o.Text,
			Since: o.Since, Runbook: o.Runbook, Instance: o.Instance,
		})
	}
	return out, nil
}

func (a *API) testAlert(ctx context.Context, _ *call, _ Nothing) (AlertTest, error) {
	sent, err := a.o.Alerts.Test(ctx)
	out := AlertTest{ID: sent.ID, Delivered: err == nil, Instance: sent.Instance}
	if err != nil {
		out.Error = err.Error()
	}
	return out, nil
}
