package telemetry

import (
	"net/http"

	"github.com/penstock/penstock/internal/llm"
)

// Names of the OpenTelemetry semantic conventions, in the last version that has those of generative AI: later ones point
// to a repository of their own, whose first release gives the metrics other names, which collectors do not know yet. All
// of the gen_ai names are in development; whoever takes up another version changes this file and docs/telemetry.md.
const (
	schema = "https://opentelemetry.io/schemas/1.41.0"
	scope  = "github.com/penstock/penstock"
)

// Attributes of the conventions.
const (
	serviceName     = "service.name"
	serviceVersion  = "service.version"
	serviceInstance = "service.instance.id"

	httpMethod    = "http.request.method"
	httpRoute     = "http.route"
	httpStatus    = "http.response.status_code"
	urlPath       = "url.path"
	errorType     = "error.type"
	serverAddress = "server.address"
	serverPort    = "server.port"

	genOperation  = "gen_ai.operation.name"
	genProvider   = "gen_ai.provider.name"
	genModel      = "gen_ai.request.model"
	genStream     = "gen_ai.request.stream"
	genAnswerID   = "gen_ai.response.id"
	genAnswered   = "gen_ai.response.model"
	genFinish     = "gen_ai.response.finish_reasons"
	genFirstChunk = "gen_ai.response.time_to_first_chunk"
	genInput      = "gen_ai.usage.input_tokens"
	genOutput     = "gen_ai.usage.output_tokens"
	genCached     = "gen_ai.usage.cache_read.input_tokens"
	genCacheWrite = "gen_ai.usage.cache_creation.input_tokens"
	genReasoning  = "gen_ai.usage.reasoning.output_tokens"
	genTokenType  = "gen_ai.token.type"
	overflow      = "otel.metric.overflow"

	// genCost is not of the conventions; what shows money of traces reads it, in US dollars.
	genCost = "gen_ai.usage.cost"
)

// Attributes of ours.
const (
	ourExchange   = "penstock.exchange.id"
	ourOrg        = "penstock.organization.id"
	ourProject    = "penstock.project.id"
	ourKey        = "penstock.key.id"
	ourClientID   = "penstock.client_request.id"
	ourModel      = "penstock.model"
	ourTarget     = "penstock.target"
	ourTags       = "penstock.tags"
	ourTries      = "penstock.tries"
	ourCost       = "penstock.cost_nano"
	ourUnpriced   = "penstock.unpriced"
	ourOverhead   = "penstock.overhead"
	ourReplayed   = "penstock.replayed"
	ourOutcome    = "penstock.try.outcome"
	ourEstimated  = "penstock.usage.estimated"
	ourUpstream   = "penstock.upstream_request.id"
	ourCorrected  = "penstock.clock.corrected"
	ourTook       = "penstock.stage.took"
	ourPolicy     = "penstock.route.policy"
	ourEligible   = "penstock.route.eligible"
	ourHedge      = "penstock.try.hedge"
	ourCredential = "penstock.try.credential"
)

// ourStages begins the names of what stages leave in a trace.
const ourStages = "penstock."

// firstToken is the event of the first content of an answer.
const firstToken = "gen_ai.first_token"

// Metrics of the conventions.
const (
	durationMetric   = "gen_ai.client.operation.duration"
	firstChunkMetric = "gen_ai.client.operation.time_to_first_chunk"
	tokensMetric     = "gen_ai.client.token.usage"
)

// Buckets that the conventions ask for.
var (
	secondsBounds = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	tokensBounds  = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// providers are the conventions' names of vendors that the catalogue calls otherwise.
var providers = map[string]string{
	"google": "gcp.gemini", "google-vertex": "gcp.vertex_ai", "amazon-bedrock": "aws.bedrock", "azure": "azure.ai.openai",
	"mistral": "mistral_ai", "xai": "x_ai", "moonshot": "moonshot_ai", "moonshot-cn": "moonshot_ai",
}

// ProviderName is the conventions' name of a vendor.
func ProviderName(vendor string) string {
	if name := providers[vendor]; name != "" {
		return name
	}
	return vendor
}

// An operation is what the conventions say of an operation of ours.
type operation struct{ name, route string }

var operations = map[llm.Operation]operation{
	llm.OpChat:        {"chat", "/v1/chat/completions"},
	llm.OpEmbeddings:  {"embeddings", "/v1/embeddings"},
	llm.OpModerations: {"moderations", "/v1/moderations"},
	llm.OpCount:       {"count_tokens", "/v1/messages/count_tokens"},
}

// routes are those of dialects other than OpenAI's first, whose are above.
var routes = map[llm.Dialect]map[llm.Operation]string{
	llm.Anthropic: {llm.OpChat: "/v1/messages"},
	llm.Responses: {llm.OpChat: "/v1/responses", llm.OpCount: "/v1/responses/input_tokens"},
}

// routeOf is the route by which clients of a dialect ask for an operation, "" if none is known.
func routeOf(d llm.Dialect, op llm.Operation) string {
	if r := routes[d][op]; r != "" {
		return r
	}
	return operationOf(op).route
}

func operationOf(op llm.Operation) operation {
	if o, ok := operations[op]; ok {
		return o
	}
	return operation{name: string(op)}
}

const method = http.MethodPost // of every route that is an exchange
