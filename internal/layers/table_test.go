package layers

import "path"

// module is the path that all our import paths begin with.
const module = "github.com/penstock/penstock"

// A layer is a row of the table: packages under internal/ that do not know of each other. "*" stands for one path element.
type layer struct {
	name     string
	packages []string
}

// layers has the lowest first. A package imports packages of the rows above its own only, never one of its own row.
// docs/architecture.md says what each is for.
var layers = []layer{
	{"1 vocabulary", []string{"llm", "fault", "secret", "failpoint"}},
	{"2 wire: framing", []string{"wire/sse", "wire/eventstream", "wire/rawjson", "wire/crossing"}},
	{"2 wire: dialects", []string{"wire/*"}},
	{"3 mechanism", []string{
		"provider", "provider/*", "pipeline", "catalog", "tokens", "embed", "journal", "seal", "jobs", "certify",
		"figure", "alert", "clock", "purge", "quota", "admission", "health", "window", "escrow", "ledger", "rate", "fresh",
	}},
	{"4 features", []string{
		"auth", "stop", "limit", "prompt", "guard", "cache", "retrieve", "compress", "route", "usage", "audit", "bodies", "retention", "recall", "conversation", "idempotency",
		"backup", "reconcile",
		"batch", "flow", "evaluate", "optimize", "recommend",
	}},
	{"5 edges", []string{"gateway", "admin", "console", "store", "sim", "telemetry"}},
	{"6 assembly: config", []string{"config"}},
	{"6 assembly: upkeep", []string{"upkeep"}},
	{"6 assembly: server", []string{"server"}},
	{"6 assembly: doctor", []string{"doctor"}},
	{"6 assembly: drill", []string{"drill"}},
	{"6 assembly: cli", []string{"cli"}},
}

// siblings are the only imports inside a row: a codec speaks the types of the client that calls it, and Azure's is OpenAI's at
// other addresses.
var siblings = map[string]string{"provider/*": "provider", "provider/azure": "provider/openai", "wire/responses": "wire/openai"}

// support are packages for tests. They may import everything; only tests and each other may import them.
var support = []string{"penstocktest", "telemetry/collectortest", "store/storetest", "store/pgtest", "provider/codectest", "layers", "sim/simtest", "escrow/escrowtest"}

// programs are the packages that no other imports, and which of ours each may import.
var programs = map[string][]string{
	"cmd/penstock":         {"internal/cli"},
	"internal/catalog/gen": {"internal/catalog", "internal/llm"},
	"bench":                {"bench/*", "internal/store/pgtest"}, // it measures with a database, too
	"bench/*":              {"bench/*"},
	"scripts/sbom":         nil,
	"deploy":               nil,                                                                 // so do its tests
	"test/sdk":             nil,                                                                 // it sees what a user sees
	"test/console":         {"internal/console", "internal/auth"},                               // so does it, but for the inventory of pages and roles
	"test/chaos":           {"internal/failpoint", "internal/gateway", "internal/store/pgtest"}, // so does it, but for the inventory of routes and a database
}

// rank is the row of a package, counted from 0, or -1 if it is in none.
func rank(name string) int {
	for i, l := range layers {
		if matchAny(l.packages, name) {
			return i
		}
	}
	return -1
}

// matchAny reports whether one of the patterns matches the name.
func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}
