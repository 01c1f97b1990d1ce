package console_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

// scaleConfig is a configuration for the traffic that [penstocktest.Env.Fill] invents.
const scaleConfig = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  openai: { dialect: openai, base_url: "http://%SIM%/sim-a/v1", vendor: openai, models: [gpt-5, gpt-5-mini, text-embedding-3-small] }
  claude: { dialect: openai, base_url: "http://%SIM%/sim-b/v1", vendor: anthropic, models: [claude-haiku-4-5, claude-sonnet-4-5] }
  gemini: { dialect: openai, base_url: "http://%SIM%/sim-b/v1", vendor: google, models: [gemini-3-flash] }
  house: { dialect: openai, base_url: "http://%SIM%/sim-b/v1", vendor: none, models: [llama-4-scout] }
models:
  support: { targets: [claude/claude-haiku-4-5, openai/gpt-5-mini] }
  gpt-5-mini: { targets: [openai/gpt-5-mini] }
  writer: { targets: [claude/claude-sonnet-4-5] }
  gpt-5: { targets: [openai/gpt-5] }
  search: { targets: [openai/text-embedding-3-small] }
  local-llama: { targets: [house/llama-4-scout] }
  gemini-3-flash: { targets: [gemini/gemini-3-flash] }
`

// TestScale measures every page over many exchanges of the last 30 days: a million with PENSTOCK_SLOW=1, else so few that
// nothing is told about speed. PENSTOCK_CONSOLE_DIR keeps the data for the next run, and PENSTOCK_CONSOLE_HOLD=10m has the
// console stay for so long, so that one can look at it.
func TestScale(t *testing.T) {
	n, limit := 3000, 10*time.Second
	if os.Getenv("PENSTOCK_SLOW") != "" {
		n, limit = 1_000_000, 150*time.Millisecond
	}
	if many, err := strconv.Atoi(os.Getenv("PENSTOCK_CONSOLE_N")); err == nil {
		n = many
	}
	dir := os.Getenv("PENSTOCK_CONSOLE_DIR")
	_, err := os.Stat(filepath.Join(dir, "filled"))
	e := penstocktest.Start(t, penstocktest.Options{Config: scaleConfig, Dir: dir})
	if dir == "" || err != nil {
		began := time.Now()
		e.Fill(n, 30*24*time.Hour, time.Now())
		t.Logf("%d exchanges in %v", n, time.Since(began).Round(time.Second))
		if dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "filled"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	for _, path := range scalePages {
		best, work := time.Duration(0), time.Hour
		var got answer
		for i := range 3 {
			began, worked := time.Now(), cpu()
			got = b.get(path)
			work = min(work, cpu()-worked)
			if took := time.Since(began); i == 0 || took < best {
				best = took
			}
		}
		nodes := strings.Count(got.text, "<") / 2
		t.Logf("%-52s %8v, %8v of a core  %4d kB  %d elements", path, best.Round(100*time.Microsecond), work.Round(100*time.Microsecond), len(got.text)>>10, nodes)
		if got.status != 200 {
			t.Errorf("%s: status %d: %s", path, got.status, got.text)
		}
		if best > limit {
			t.Errorf("%s took %v, limit %v", path, best, limit)
		}
	}
	if hold, err := time.ParseDuration(os.Getenv("PENSTOCK_CONSOLE_HOLD")); err == nil {
		if err := os.WriteFile(filepath.Join(e.Dir, "console.json"), []byte(e.Describe()), 0o600); err != nil {
			t.Fatal(err)
		}
		<-time.After(hold)
	}
}

// cpu is the process's own time, which others on the machine change less than the clock's.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

var scalePages = []string{
	"/", "/exchanges", "/exchanges?status=error&range=30d", "/exchanges?project=nowhere&range=all",
	"/usage", "/usage?range=30d", "/usage?range=30d&by=project&show=tokens", "/usage?range=30d&by=key", "/usage?range=30d&by=day", "/usage?range=7d&by=hour",
	"/usage?range=30d&by=user", "/usage?range=7d&by=user", "/usage?range=today&by=user", "/usage?range=month&by=user", "/usage?range=all&by=user", "/usage?range=30d&by=tag", "/usage?range=24h&by=target", "/usage?range=24h&by=user", "/usage?range=30d&by=label:team",
	"/usage?range=30d&by=model&user=user-007", "/usage?range=30d&by=project&tag=beta", "/usage?range=24h&by=hour&user=user-007", "/usage?range=7d&by=tag",
	"/usage?range=30d&model=support&by=project", "/usage.csv?range=30d&by=key", "/latency", "/latency?range=30d", "/latency?range=7d&by=project&of=first-token", "/latency?range=1h", "/usage?range=all&by=org", "/models", "/prices",
	"/usage?range=30d&by=target&provider=openai", "/usage?range=30d&by=project&label:team=a",
	"/ledger", "/ledger?range=24h", "/ledger?kind=adjusted", "/ledger?provider=claude&range=24h", "/ledger?budget=bgt_none", "/ledger/entries/1", "/ledger/accounts", "/ledger/unknown",
	"/ledger/check", "/budgets", "/tiers",
}
