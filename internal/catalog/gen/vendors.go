package main

import "github.com/penstock/penstock/internal/catalog"

// A vendor is one that people put behind a gateway, with its names in both tables. LiteLLM's table is the older one, so it
// adds chat models only for vendors whose models keep their price (own: their makers and the large clouds), and not for
// hosts of open models, whose lists and prices change by the month.
type vendor struct {
	name      string
	modelsDev string   // its provider there, "" if it has none
	liteLLM   []string // its providers there
	own       bool
	hosts     []string
}

var all = []vendor{
	{"openai", "openai", []string{"openai", "text-completion-openai"}, true, []string{"api.openai.com", "*.api.openai.com"}},
	{"anthropic", "anthropic", []string{"anthropic"}, true, []string{"api.anthropic.com"}},
	{"google", "google", []string{"gemini"}, true, []string{"generativelanguage.googleapis.com"}},
	{"google-vertex", "google-vertex", []string{
		"vertex_ai-language-models", "vertex_ai-embedding-models", "vertex_ai-anthropic_models", "vertex_ai-mistral_models",
		"vertex_ai-llama_models", "vertex_ai-deepseek_models", "vertex_ai-qwen_models",
	}, true, []string{"aiplatform.googleapis.com", "*-aiplatform.googleapis.com"}},
	{"azure", "azure", []string{"azure"}, true, []string{
		"*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com",
	}},
	{"amazon-bedrock", "amazon-bedrock", []string{"bedrock", "bedrock_converse"}, true, []string{
		"bedrock-runtime.*.amazonaws.com", "bedrock-runtime-fips.*.amazonaws.com", "bedrock-mantle.*.api.aws",
	}},
	{"mistral", "mistral", []string{"mistral"}, true, []string{"api.mistral.ai"}},
	{"cohere", "cohere", []string{"cohere", "cohere_chat"}, true, []string{"api.cohere.ai", "api.cohere.com"}},
	{"deepseek", "deepseek", nil, true, []string{"api.deepseek.com"}},
	{"xai", "xai", []string{"xai"}, true, []string{"api.x.ai", "*.api.x.ai"}},
	{"perplexity", "perplexity", nil, true, []string{"api.perplexity.ai"}},
	{"voyage", "", []string{"voyage"}, true, []string{"api.voyageai.com"}},
	{"ai21", "", []string{"ai21"}, true, []string{"api.ai21.com"}},
	{"moonshot", "moonshotai", nil, true, []string{"api.moonshot.ai"}},
	{"moonshot-cn", "moonshotai-cn", nil, true, []string{"api.moonshot.cn"}},
	{"zai", "zai", nil, true, []string{"api.z.ai"}},
	{"zhipu", "zhipuai", nil, true, []string{"open.bigmodel.cn"}},
	{"alibaba", "alibaba", nil, true, []string{"dashscope-intl.aliyuncs.com"}},
	{"alibaba-cn", "alibaba-cn", nil, true, []string{"dashscope.aliyuncs.com"}},
	{"minimax", "minimax", nil, true, []string{"api.minimax.io"}},
	{"stepfun", "stepfun", nil, true, []string{"api.stepfun.com"}},
	{"xiaomi", "xiaomi", nil, true, []string{"api.xiaomimimo.com"}},
	{"upstage", "upstage", nil, true, []string{"api.upstage.ai"}},
	{"inception", "inception", nil, true, []string{"api.inceptionlabs.ai"}},
	{"llama", "llama", nil, true, []string{"api.llama.com"}},
	{"groq", "groq", []string{"groq"}, false, []string{"api.groq.com"}},
	{"cerebras", "cerebras", []string{"cerebras"}, false, []string{"api.cerebras.ai"}},
	{"together", "togetherai", []string{"together_ai"}, false, []string{"api.together.xyz", "api.together.ai"}},
	{"fireworks", "fireworks-ai", []string{"fireworks_ai", "fireworks_ai-embedding-models"}, false, []string{"api.fireworks.ai"}},
	{"deepinfra", "deepinfra", []string{"deepinfra"}, false, []string{"api.deepinfra.com"}},
	{"nebius", "nebius", nil, false, []string{"api.tokenfactory.nebius.com", "api.studio.nebius.com"}},
	{"novita", "novita-ai", nil, false, []string{"api.novita.ai"}},
	{"siliconflow", "siliconflow", nil, false, []string{"api.siliconflow.com"}},
	{"baseten", "baseten", nil, false, []string{"inference.baseten.co"}},
	{"friendli", "friendli", nil, false, []string{"api.friendli.ai"}},
	{"huggingface", "huggingface", nil, false, []string{"router.huggingface.co"}},
	{"nvidia", "nvidia", nil, false, []string{"integrate.api.nvidia.com"}},
	{"cloudflare", "cloudflare-workers-ai", nil, false, []string{"api.cloudflare.com"}},
	{"databricks", "databricks", nil, false, []string{"*.cloud.databricks.com", "*.azuredatabricks.net", "*.gcp.databricks.com"}},
	{"scaleway", "scaleway", nil, false, []string{"api.scaleway.ai"}},
	{"ovhcloud", "ovhcloud", nil, false, []string{"oai.endpoints.kepler.ai.cloud.ovh.net"}},
	{"wandb", "wandb", nil, false, []string{"api.inference.wandb.ai"}},
	{"openrouter", "openrouter", nil, false, []string{"openrouter.ai"}},
}

// vendors is the list as the catalogue's head has it.
func vendors() []catalog.Vendor {
	list := make([]catalog.Vendor, len(all))
	for i, v := range all {
		list[i] = catalog.Vendor{Name: v.name, Hosts: v.hosts}
	}
	return list
}
