package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/catalog"
)

// A liteModel is an entry of LiteLLM's table, as far as it is of use. Costs are US dollars per token.
type liteModel struct {
	Provider      string         `json:"litellm_provider"`
	Mode          string         `json:"mode"`
	MaxTokens     jsontext.Value `json:"max_tokens"`
	MaxInput      jsontext.Value `json:"max_input_tokens"`
	MaxOutput     jsontext.Value `json:"max_output_tokens"`
	Input         jsontext.Value `json:"input_cost_per_token"`
	Output        jsontext.Value `json:"output_cost_per_token"`
	CacheRead     jsontext.Value `json:"cache_read_input_token_cost"`
	CacheWrite    jsontext.Value `json:"cache_creation_input_token_cost"`
	Reasoning     jsontext.Value `json:"output_cost_per_reasoning_token"`
	AudioInput    jsontext.Value `json:"input_cost_per_audio_token"`
	AudioOutput   jsontext.Value `json:"output_cost_per_audio_token"`
	Input200k     jsontext.Value `json:"input_cost_per_token_above_200k_tokens"`
	Output200k    jsontext.Value `json:"output_cost_per_token_above_200k_tokens"`
	CacheRead200k jsontext.Value `json:"cache_read_input_token_cost_above_200k_tokens"`
	Write200k     jsontext.Value `json:"cache_creation_input_token_cost_above_200k_tokens"`
	Input128k     jsontext.Value `json:"input_cost_per_token_above_128k_tokens"`
	Output128k    jsontext.Value `json:"output_cost_per_token_above_128k_tokens"`
	Search        jsontext.Value `json:"search_context_cost_per_query"`
	Tools         bool           `json:"supports_function_calling"`
	Reasons       bool           `json:"supports_reasoning"`
	Schema        bool           `json:"supports_response_schema"`
	Vision        bool           `json:"supports_vision"`
	TakesAudio    bool           `json:"supports_audio_input"`
	GivesAudio    bool           `json:"supports_audio_output"`
	PDF           bool           `json:"supports_pdf_input"`
}

func readLiteLLM(path string) ([]catalog.Model, error) {
	raw, err := open(path)
	if err != nil {
		return nil, err
	}
	var entries map[string]liteModel
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, err
	}
	vendors := map[string]vendor{}
	for _, v := range all {
		for _, p := range v.liteLLM {
			vendors[p] = v
		}
	}
	var models []catalog.Model
	seen := map[string]bool{} // OpenAI's models are listed with and without "openai/"
	for key, x := range entries {
		v, known := vendors[x.Provider]
		name, ok := bareName(key, x.Provider)
		if !known || !ok || !x.wanted(v, name) || seen[v.name+"/"+name] {
			continue
		}
		m, err := x.model(v.name, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		seen[v.name+"/"+name] = true
		if m.Price != nil {
			models = append(models, m)
		}
	}
	slices.SortFunc(models, func(a, b catalog.Model) int { return strings.Compare(a.Vendor+"/"+a.Name, b.Vendor+"/"+b.Name) })
	return models, nil
}

// bareName takes LiteLLM's own prefix off. Names that say more than the model (a region, a size of pictures, a commitment)
// are not what is asked for at the vendor's API.
func bareName(key, provider string) (string, bool) {
	prefix, _, _ := strings.Cut(provider, "-") // "vertex_ai-language-models" has keys "vertex_ai/..."
	bare, cut := key, false
	for _, p := range []string{prefix, provider} {
		if rest, ok := strings.CutPrefix(key, p+"/"); ok {
			bare, cut = rest, true
		}
	}
	switch provider {
	case "openai", "text-completion-openai", "azure", "gemini", "mistral", "xai", "voyage", "cohere", "cohere_chat":
		return bare, !strings.Contains(bare, "/")
	case "bedrock", "bedrock_converse":
		return bare, !cut && !strings.Contains(bare, "/")
	case "together_ai", "fireworks_ai", "fireworks_ai-embedding-models":
		return bare, cut // without the prefix they are sizes of models, not names
	}
	return bare, true
}

// retired are parts of names of models that nobody can call any more, that are not called by chat or embeddings, or whose
// entry is known to be wrong; "-latest" names may have moved to a model of another price since the table's date.
var retired = []string{
	"latest", "realtime", "-live-", "-tts", "image-generation", "image-preview", "-exp", "experimental", "learnlm",
	"claude-instant", "claude-2", "claude-v", "gemini-1.", "gemini-pro", "gemini-gemma", "textembedding-gecko",
	"embedding-preview", "multimodal", "j2-", "llama2", "titan-text", "embed-image", "beta", "eu.anthropic.claude-3-5-haiku",
	"mistral-tiny", "mistral-medium-2312", "command-nightly", "command-light", "command-text", "@001",
	"gpt-35-turbo-03", "gpt-4-vision", "1106-vision",
}

// wanted says whether the entry may add to the catalogue: priced by token, and called by chat or
// embeddings. The table's dates of deprecation are not asked: they name models that still answer.
func (x *liteModel) wanted(v vendor, name string) bool {
	if slices.ContainsFunc(retired, func(part string) bool { return strings.Contains(name, part) }) {
		return false
	}
	switch x.Mode {
	case "embedding":
	case "chat", "responses", "completion":
		if !v.own {
			return false
		}
	default:
		return false
	}
	return x.Input != nil
}

func (x *liteModel) model(vendor, name string) (catalog.Model, error) {
	m := catalog.Model{
		Vendor: vendor, Name: name, Context: number(x.MaxInput), MaxOutput: number(x.MaxOutput), Source: sources[1].String(),
		Abilities: abilities(map[string]bool{
			catalog.Tools: x.Tools, catalog.Reasoning: x.Reasons, catalog.JSONSchema: x.Schema, catalog.Vision: x.Vision,
			catalog.Audio: x.TakesAudio, catalog.PDF: x.PDF, catalog.AudioOutput: x.GivesAudio,
		}),
	}
	if m.Context == 0 {
		m.Context = number(x.MaxTokens)
	}
	if x.Mode == "embedding" {
		m.Abilities, m.MaxOutput = []string{catalog.Embeddings}, 0
	}
	b := priceBuilder{text: catalog.RatePerToken, note: &m.Note, silent: m.Can(catalog.Embeddings)}
	m.Price = b.price(x.Input, x.Output, x.CacheRead, x.CacheWrite)
	if m.Price == nil {
		return m, b.err
	}
	b.dearerReasoning(m.Price, x.Reasoning)
	switch {
	case x.Input200k != nil:
		m.Price.Long, m.Price.LongOver = b.price(x.Input200k, x.Output200k, x.CacheRead200k, x.Write200k), 200_000
	case x.Input128k != nil:
		m.Price.Long, m.Price.LongOver = b.price(x.Input128k, x.Output128k, nil, nil), 128_000
	}
	b.sound(m.Price, x.AudioInput, x.AudioOutput)
	if x.Search != nil {
		b.add("searches are not in the price")
	}
	return m, b.err
}

// number reads a limit; the table has some as text.
func number(v jsontext.Value) int64 {
	var n int64
	if v == nil || json.Unmarshal(v, &n) != nil {
		return 0
	}
	return n
}
