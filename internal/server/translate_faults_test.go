//go:build !race

package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// speakersWith has, for each dialect that is translated, a model for each of the knobs, called PROVIDER-NUMBER; and the same with a
// sound target behind it, called PROVIDER-NUMBER-or.
func speakersWith(t *testing.T, knobs []string) *penstocktest.Env {
	t.Helper()
	var b strings.Builder
	b.WriteString(allDialects)
	var targets []string
	for _, p := range []string{"claude", "bed", "gem"} {
		for i, k := range knobs {
			target := p + "/gpt-5-mini?" + k // a name whose tokens can be counted
			fmt.Fprintf(&b, "  %s-%d: { targets: [%q] }\n  %[1]s-%[2]d-or: { targets: [%[3]q, gpt/m] }\n", p, i, target)
			targets = append(targets, target)
		}
	}
	models := map[string]sim.Model{"*": {Price: sim.Price{Input: "1", Cached: "0.5", Output: "4"}, CachedShare: 0.25}}
	e := penstocktest.Start(t, penstocktest.Options{Config: b.String(), Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{
		"gpt": {Models: models}, "claude": {Models: models, Dialect: "anthropic"}, "azure": {Models: models, Dialect: "azure"},
		"bed": {Models: models, Dialect: "bedrock"}, "gem": {Models: models, Dialect: "gemini"},
	}}})
	e.Price(append(targets, "gpt/m", "claude/m", "bed/m", "gem/m")...)
	return e
}

// Whatever a provider does, its caller cannot tell by it which dialect it speaks, and the books balance.
func TestFaultsAreTheSameInAllDialects(t *testing.T) {
	t.Parallel()
	knobs := []string{
		"tag=none", "usage=none", "reasoning=5", "tool_calls=2", "tool_calls=3&shape=whole", "shape=split_escape&tool_calls=1", "bytewise=1&events=3", "chunks=3,17,1",
		"encoding=gzip", "unknown_event=1", "finish=length", "finish=content_filter", "events=0&nullcontent=1",
		"error_at=0", "error_at=3", "garbage=1", "garbage=2", "cut=0", "cut=4&flush=1", "cut=4:rst&flush=1", "no_done=1", "no_finish=1&no_done=1", "empty=1", "html=1",
		"plain_for_stream=1", "sse_for_plain=1", "status=400", "status=404", "status=413", "status=429", "status=500", "status=503", "status=401", "status=drop",
	}
	e := speakersWith(t, knobs)
	key := e.Key("home")
	const tools = `,"tools":[{"type":"function","function":{"name":"now"}}]`
	for i, k := range knobs {
		for _, stream := range []string{"", `"stream":true,"stream_options":{"include_usage":true},`} {
			for _, or := range []string{"", "-or"} {
				var outcomes [3]string
				var all sync.WaitGroup // what is tried again is waited for
				for n, p := range []string{"claude", "bed", "gem"} {
					body := fmt.Sprintf(`{"model":"%s-%d%s",%s"messages":[{"role":"user","content":"say:6 %s"}]`, p, i, or, stream, strings.Repeat("cat ", 40))
					if strings.Contains(k, "tool_calls") {
						body += tools
					}
					body += "}"
					all.Go(func() {
						a := e.Post(key, "/v1/chat/completions", body)
						outcomes[n] = outcome(t, a)
						if a.Status == http.StatusOK && stream != "" && strings.Contains(a.Text(), "[DONE]") == strings.Contains(a.Text(), `"error"`) {
							t.Errorf("%s of %s: neither whole nor broken, or both: %s", k, p, a.Text())
						}
					})
				}
				all.Wait()
				if k == "no_done=1" && stream != "" { // one dialect tells why it ended before its mark, and one with it
					outcomes[0] = strings.Replace(outcomes[0], `finish "stop"`, `finish ""`, 1)
				}
				if outcomes[0] != outcomes[1] || outcomes[0] != outcomes[2] {
					t.Errorf("%s, streamed %t%s:\n%s", k, stream != "", or, strings.Join(outcomes[:], "\n"))
				}
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// outcome is what a caller makes of an answer, but for names, ids and words that are drawn.
func outcome(t *testing.T, a penstocktest.Answer) string {
	t.Helper()
	if a.Status != http.StatusOK {
		if a.Status < http.StatusInternalServerError && a.Status != http.StatusTooManyRequests {
			return fmt.Sprint(a.Status) // and the provider's own words
		}
		_, code, _ := strings.Cut(a.Text(), `"code":`)
		return fmt.Sprintf("%d %s", a.Status, code)
	}
	body, failure, failed := strings.Cut(a.Text(), `data: {"error"`)
	text, reasoning, calls, finish, whole := gathered(t, body)
	said := fmt.Sprintf("%d words, %d of reasoning, calls%s, finish %q", len(strings.Fields(text)), len(strings.Fields(reasoning)), calls, finish)
	if whole.Usage != nil {
		said += fmt.Sprintf(", usage %+v", *whole.Usage)
	}
	if failed {
		_, code, _ := strings.Cut(failure, `"code":`)
		said += ", then " + code
	}
	return said
}
