package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A bill is what the simulator says it charges for.
type bill struct {
	Open   int `json:"open"` // calls that have not ended yet, and are in nothing below
	Models map[string]struct {
		Calls int64 `json:"calls"`
	} `json:"models"`
	Calls []billed `json:"calls"`
}

// A billed call is one line of it.
type billed struct {
	Seq        int64     `json:"seq"`
	ID         string    `json:"id"`
	Provider   string    `json:"provider"`
	Model      string    `json:"model"`
	Prompt     int64     `json:"prompt_tokens"`
	Completion int64     `json:"completion_tokens"`
	Cost       int64     `json:"cost_nano"`
	Canceled   time.Time `json:"canceled_at"`
}

// get reads JSON from an address.
func get(t *testing.T, url, key string, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", url, resp.StatusCode, err)
	}
}

func (w *world) bill(t *testing.T) bill {
	t.Helper()
	var b bill
	get(t, w.sim+"/_bill", "", &b)
	return b
}

// settled is the bill once the provider has noticed the end of every call.
func (w *world) settled(t *testing.T) bill {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		if b := w.bill(t); b.Open == 0 {
			return b
		}
	}
	t.Fatal("a call at the provider does not end")
	return bill{}
}

// A sent request is what a provider was sent.
type sent struct {
	Path   string
	Header http.Header
	Body   string
}

// sent is the last request that reached a provider.
func (w *world) sent(t *testing.T) sent {
	t.Helper()
	var log struct{ Requests []sent }
	get(t, w.sim+"/_requests?n=1", "", &log)
	return log.Requests[len(log.Requests)-1]
}

// calls is how many calls of a situation have reached the provider of a dialect.
func (w *world) calls(t *testing.T, situation, dialect string) int64 {
	t.Helper()
	var n int64
	for name, m := range w.settled(t).Models {
		if strings.HasPrefix(name, dialect+"/"+situation+"-") {
			n += m.Calls
		}
	}
	return n
}

// lastCall is the number of the newest call.
func (w *world) lastCall(t *testing.T) int64 {
	t.Helper()
	calls := w.settled(t).Calls
	if len(calls) == 0 {
		return 0
	}
	return calls[len(calls)-1].Seq
}

// canceledSince waits until the provider has noticed that the client of a call of the situation, after number seq, had left,
// and gives the time of that.
func (w *world) canceledSince(t *testing.T, situation, dialect string, seq int64) time.Time {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		for _, c := range w.bill(t).Calls {
			if c.Provider == dialect && strings.HasPrefix(c.Model, situation+"-") && c.Seq > seq && !c.Canceled.IsZero() {
				return c.Canceled
			}
		}
	}
	t.Fatalf("the provider of %s never saw that the client of %s left", dialect, situation)
	return time.Time{}
}

// A try is what was recorded of one call of a provider.
type try struct {
	ID, Target, Reason, Outcome string
	Upstream                    string `json:"upstream_id"`
	Cost                        int64  `json:"cost_nano"`
	Usage                       struct {
		Input, Output int64
		Estimated     bool
	}
}

// tries are all that were recorded.
func (w *world) tries(t *testing.T) []try {
	t.Helper()
	var all []try
	for after := ""; ; {
		var page struct {
			Data []struct {
				Op    string
				Tries []try
			}
			Next string
		}
		get(t, w.admin+"/admin/v1/exchanges?limit=1000&after="+after, w.adminKey, &page)
		for _, r := range page.Data {
			if r.Op != "count_tokens" { // which is on no bill
				all = append(all, r.Tries...)
			}
		}
		if after = page.Next; after == "" {
			return all
		}
	}
}

// checkBooks fails unless each call that the providers charge for was recorded with what they charge, and nothing else was.
// Of answers that broke off, which no provider reports the tokens of, it is known only that they are in the books.
func (w *world) checkBooks(t *testing.T) {
	t.Helper()
	charged := map[string]billed{}
	for _, c := range w.settled(t).Calls {
		charged[c.ID] = c
	}
	if len(charged) == 0 {
		t.Error("no call has reached a provider")
	}
	unnamed := 0 // tries that ended before the provider gave them an id
	exact := 0
	for _, r := range w.tries(t) {
		c, there := charged[r.Upstream]
		delete(charged, r.Upstream)
		wrong := ""
		switch {
		case r.Upstream == "":
			unnamed++
			if r.Cost != 0 && r.Outcome != "settled_estimated" {
				wrong = "costs something without a call"
			}
		case !there:
			wrong = "is on no bill"
		case r.Outcome == "settled_actual" && (r.Cost != c.Cost || r.Usage.Input != c.Prompt || r.Usage.Output != c.Completion):
			wrong = "is not what was billed"
		case r.Outcome == "released" && c.Cost != 0:
			wrong = "was billed"
		}
		if r.Outcome == "settled_actual" {
			exact++
		}
		if wrong != "" {
			t.Errorf("try %s of %s (%s, %s) %s: %s; the bill: %s", r.ID, r.Target, r.Reason, r.Outcome, wrong, amounts(r.Usage.Input, r.Usage.Output, r.Cost),
				amounts(c.Prompt, c.Completion, c.Cost))
		}
	}
	for _, c := range charged {
		if unnamed--; unnamed < 0 && c.Cost != 0 {
			t.Errorf("call %s of %s/%s is in no record: %s", c.ID, c.Provider, c.Model, amounts(c.Prompt, c.Completion, c.Cost))
		}
	}
	t.Logf("%d tries are in the books as they were billed", exact)
}

func amounts(in, out, nano int64) string {
	return fmt.Sprintf("%d in, %d out, %d nano-dollars", in, out, nano)
}
