package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// gemini is the dialect of Google's Gemini, at the paths of its own API and of Vertex AI. This file reads requests;
// gemini_answer.go writes answers.
type gemini struct{}

// geminiPath is a method of a model, below the version or below a project.
var geminiPath = regexp.MustCompile(`^/v1(?:beta)?(?:/projects/[^/]+/locations/[^/]+/publishers/google)?/models/(.+):([a-zA-Z]+)$`)

// asked is the model that a path names, and the method; "" if it is another path.
func (gemini) asked(path string) (model, method string) {
	if m := geminiPath.FindStringSubmatch(path); m != nil {
		return m[1], m[2]
	}
	return "", ""
}

func (d gemini) operation(method, path string) (operation, bool) {
	if method == http.MethodGet {
		return opModels, path == "/v1beta/models"
	}
	if method != http.MethodPost {
		return 0, false
	}
	switch _, what := d.asked(path); what {
	case "generateContent", "streamGenerateContent":
		return opChat, true
	case "batchEmbedContents", "predict":
		return opEmbed, true
	case countMethod:
		return opCount, true
	}
	return 0, false
}

const countMethod = "countTokens"

func (gemini) countOf(tokens int) []byte { return fmt.Appendf(nil, `{"totalTokens":%d}`, tokens) }

// generateBody is what may be in a request; what is in none of its members is refused.
type generateBody struct {
	Contents []geminiContent `json:"contents"`
	System   *geminiContent  `json:"systemInstruction"`
	Tools    []struct {
		Functions []struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Schema      json.RawMessage `json:"parametersJsonSchema"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
	ToolConfig struct {
		Calling struct {
			Mode    string   `json:"mode"`
			Allowed []string `json:"allowedFunctionNames"`
		} `json:"functionCallingConfig"`
	} `json:"toolConfig"`
	Generation struct {
		Temperature *float64        `json:"temperature"`
		TopP        *float64        `json:"topP"`
		TopK        *int            `json:"topK"`
		Candidates  *int            `json:"candidateCount"`
		Most        *int            `json:"maxOutputTokens"`
		Stop        []string        `json:"stopSequences"`
		Seed        *int64          `json:"seed"`
		Presence    *float64        `json:"presencePenalty"`
		Frequency   *float64        `json:"frequencyPenalty"`
		Type        string          `json:"responseMimeType"`
		Schema      json.RawMessage `json:"responseJsonSchema"`
		Thinking    *struct {
			Include *bool  `json:"includeThoughts"`
			Budget  *int   `json:"thinkingBudget"`
			Level   string `json:"thinkingLevel"`
		} `json:"thinkingConfig"`
	} `json:"generationConfig"`
	Safety json.RawMessage   `json:"safetySettings"`
	Cached string            `json:"cachedContent"`
	Labels map[string]string `json:"labels"`
	Tier   string            `json:"serviceTier"`
	// Counted is the request whose tokens are to be counted.
	Counted *struct {
		generateBody
		Model string `json:"model"`
	} `json:"generateContentRequest"`
}

type geminiContent struct {
	Role  string       `json:"role"`
	Parts []geminiPart `json:"parts"`
}

type geminiPart struct {
	Text   *string `json:"text"`
	Proof  string  `json:"thoughtSignature"`
	Inline *struct {
		Type string `json:"mimeType"`
		Data []byte `json:"data"`
	} `json:"inlineData"`
	File *struct {
		Type string `json:"mimeType"`
		URI  string `json:"fileUri"`
	} `json:"fileData"`
	Call *struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	} `json:"functionCall"`
	Result *struct {
		ID       string          `json:"id"`
		Name     string          `json:"name"`
		Response json.RawMessage `json:"response"`
	} `json:"functionResponse"`
}

// strictly reads a body as the vendor does, who refuses members that it does not know.
func strictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest("", fmt.Sprintf("Invalid JSON payload received. Unknown name or value: %v", err))
	}
	return nil
}

func (d gemini) chat(path string, body []byte) (*ask, error) {
	var in generateBody
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	a := &ask{usage: true, n: 1}
	var method string
	a.model, method = d.asked(path)
	if method == countMethod && in.Counted != nil { // as the vendor's own API wants it; Vertex AI takes the members alone
		in = in.Counted.generateBody
	}
	a.stream = method == "streamGenerateContent"
	g := &in.Generation
	switch {
	case g.Temperature != nil && (*g.Temperature < 0 || *g.Temperature > 2):
		return nil, badRequest("generation_config.temperature", "temperature must be in the range [0.0, 2.0].")
	case g.Most != nil && *g.Most < 1:
		return nil, badRequest("generation_config.max_output_tokens", "max_output_tokens must be positive.")
	case g.Candidates != nil && (*g.Candidates < 1 || *g.Candidates > 8):
		return nil, badRequest("generation_config.candidate_count", "candidate_count must be in the range [1, 8].")
	case len(g.Stop) > 5:
		return nil, badRequest("generation_config.stop_sequences", "There may be at most 5 stop sequences.")
	case g.Type != "" && g.Type != "application/json" && g.Type != "text/plain":
		return nil, badRequest("generation_config.response_mime_type", "response_mime_type is not allowed.")
	case g.Schema != nil && g.Type != "application/json":
		return nil, badRequest("generation_config.response_json_schema", "A schema needs the response mimetype application/json.")
	}
	if g.Most != nil {
		a.max = *g.Most
	}
	if g.Candidates != nil {
		a.n = *g.Candidates
	}
	if g.Type == "application/json" {
		if a.schema = g.Schema; a.schema == nil {
			a.schema = emptyObject
		}
	}
	if err := a.readFunctions(&in); err != nil {
		return nil, err
	}
	return a, a.readContents(&in)
}

func (a *ask) readFunctions(in *generateBody) error {
	for _, t := range in.Tools {
		for _, f := range t.Functions {
			if !geminiName.MatchString(f.Name) {
				return badRequest("tools.function_declarations.name", "Invalid function name.")
			}
			a.tools = append(a.tools, tool{name: f.Name, schema: f.Schema})
		}
	}
	c := &in.ToolConfig.Calling
	switch {
	case c.Mode == "" || c.Mode == "AUTO":
		if len(c.Allowed) > 0 {
			return badRequest("tool_config", "Allowed function names should only be set when the mode is ANY.")
		}
	case len(a.tools) == 0:
		return badRequest("tool_config", "Function calling config is set without function_declarations.")
	case c.Mode == "NONE":
		a.toolChoice = "none"
	case c.Mode == "ANY" && len(c.Allowed) == 1:
		a.toolChoice = c.Allowed[0]
	case c.Mode == "ANY":
		a.toolChoice = "required"
	default:
		return badRequest("tool_config", "Invalid mode.")
	}
	return nil
}

// wantsProof is what models are called that want proofs of reasoning back.
const wantsProof = "gemini-3"

var geminiName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$`)

// readContents counts the prompt, finds the last thing that the user said, and holds the turns against the dialect's rules.
func (a *ask) readContents(in *generateBody) error {
	size, others, open := 0, 0, 0
	if in.System != nil {
		for _, p := range in.System.Parts {
			if p.Text == nil {
				return badRequest("system_instruction", "A system instruction has text only.")
			}
			size += len(*p.Text)
		}
	}
	if len(in.Contents) == 0 {
		return badRequest("contents", "contents is not specified")
	}
	for i, c := range in.Contents {
		at := fmt.Sprintf("contents[%d]", i)
		if c.Role != "user" && c.Role != "model" || len(c.Parts) == 0 {
			return badRequest(at, "Please use a valid role: user, model; and parts must not be empty.")
		}
		said, calls, results := "", 0, 0
		for k, p := range c.Parts {
			where := fmt.Sprintf("%s.parts[%d]", at, k)
			switch {
			case p.Text != nil && *p.Text == "":
				return badRequest(where, "A text parameter must not be empty.")
			case p.Text != nil:
				said += *p.Text
			case p.Inline != nil && p.Inline.Type != "" && len(p.Inline.Data) > 0, p.File != nil && p.File.Type != "":
				others++
			case p.Call != nil && c.Role == "model" && geminiName.MatchString(p.Call.Name) && strings.HasPrefix(string(p.Call.Args), "{"):
				if calls++; calls == 1 && p.Proof == "" && strings.HasPrefix(a.model, wantsProof) {
					return badRequest(where, "Function call is missing a thought_signature in functionCall parts.")
				}
				others++
			case p.Result != nil && c.Role == "user" && p.Result.Name != "" && strings.HasPrefix(string(p.Result.Response), "{"):
				results++
				others++
			default:
				return badRequest(where, "required oneof field 'data' must have one initialized field")
			}
		}
		if results != open {
			return badRequest(at, "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
		}
		open = calls
		size += len(said)
		if c.Role == "user" && said != "" {
			a.last = said
		}
	}
	a.prompt = promptTokens(size, others)
	return nil
}

// embed reads the request for vectors, in the form of either API.
func (d gemini) embed(path string, body []byte) (*ask, error) {
	a := &ask{}
	var method string
	a.model, method = d.asked(path)
	add := func(text string) error {
		if text == "" {
			return badRequest("content", "content is empty")
		}
		a.inputs = append(a.inputs, []byte(text))
		a.prompt += promptTokens(len(text), 0)
		return nil
	}
	if method == "predict" {
		a.vertex = true
		return a, a.readInstances(body, add)
	}
	var in struct {
		Requests []struct {
			Model   string        `json:"model"`
			Content geminiContent `json:"content"`
			Size    *int          `json:"outputDimensionality"`
		} `json:"requests"`
	}
	if err := strictly(body, &in); err != nil {
		return nil, err
	}
	for _, r := range in.Requests {
		if r.Model != "models/"+a.model || len(r.Content.Parts) != 1 || r.Content.Parts[0].Text == nil {
			return nil, badRequest("requests", "every request must have the model and one text")
		}
		if r.Size != nil {
			a.dimensions = min(*r.Size, maxDimensions)
		}
		if err := add(*r.Content.Parts[0].Text); err != nil {
			return nil, err
		}
	}
	if len(a.inputs) == 0 {
		return nil, badRequest("requests", "at least one request is required")
	}
	return a, nil
}

func (a *ask) readInstances(body []byte, add func(string) error) error {
	var in struct {
		Instances []struct {
			Content string `json:"content"`
		} `json:"instances"`
		Parameters struct {
			Size int `json:"outputDimensionality"`
		} `json:"parameters"`
	}
	if err := strictly(body, &in); err != nil {
		return err
	}
	a.dimensions = min(in.Parameters.Size, maxDimensions)
	for _, i := range in.Instances {
		if err := add(i.Content); err != nil {
			return err
		}
	}
	if len(a.inputs) == 0 {
		return badRequest("instances", "at least one instance is required")
	}
	return nil
}
