package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/wire/eventstream"
)

// bedrock is the dialect of Amazon Bedrock's Converse. This file reads requests; bedrock_answer.go writes answers.
type bedrock struct{}

func (bedrock) operation(method, path string) (operation, bool) {
	if model, _ := conversed(path); model == "" || method != http.MethodPost {
		return 0, false
	}
	return opChat, true
}

// conversed is the model that a path names, and whether a stream is asked for; "" if it is another path.
func conversed(path string) (model string, stream bool) {
	rest, ok := strings.CutPrefix(path, "/model/")
	if !ok {
		return "", false
	}
	if m, found := strings.CutSuffix(rest, "/converse-stream"); found {
		return m, true
	}
	m, found := strings.CutSuffix(rest, "/converse")
	if !found {
		return "", false
	}
	return m, false
}

func (bedrock) mediaType() string { return eventstream.MediaType }

func (bedrock) appendFrame(b []byte, f frame) []byte {
	return eventstream.Append(b, eventstream.Event{Name: f.name, Failed: f.failed, Data: f.data})
}

// converseBody is what the simulator reads of a request.
type converseBody struct {
	System   []converseBlock `json:"system"`
	Messages []struct {
		Role    string          `json:"role"`
		Content []converseBlock `json:"content"`
	} `json:"messages"`
	Inference struct {
		MaxTokens   *int     `json:"maxTokens"`
		Temperature *float64 `json:"temperature"`
	} `json:"inferenceConfig"`
	ToolConfig *struct {
		Tools []struct {
			Spec *struct {
				Name        string  `json:"name"`
				Description *string `json:"description"`
				Schema      struct {
					JSON json.RawMessage `json:"json"`
				} `json:"inputSchema"`
			} `json:"toolSpec"`
		} `json:"tools"`
		Choice *struct {
			Any  *struct{} `json:"any"`
			Tool *struct {
				Name string `json:"name"`
			} `json:"tool"`
		} `json:"toolChoice"`
	} `json:"toolConfig"`
	Output struct {
		Format *struct {
			Structure struct {
				Schema struct {
					Schema string `json:"schema"`
				} `json:"jsonSchema"`
			} `json:"structure"`
		} `json:"textFormat"`
	} `json:"outputConfig"`
}

type converseBlock struct {
	Text     *string         `json:"text"`
	Image    json.RawMessage `json:"image"`
	Document *struct {
		Name string `json:"name"`
	} `json:"document"`
	Use *struct {
		ID    string          `json:"toolUseId"`
		Input json.RawMessage `json:"input"`
	} `json:"toolUse"`
	Result *struct {
		ID      string          `json:"toolUseId"`
		Content []converseBlock `json:"content"`
	} `json:"toolResult"`
}

func (bedrock) chat(path string, body []byte) (*ask, error) {
	var in converseBody
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("The request body is not valid JSON: %v", err))
	}
	a := &ask{usage: true, n: 1}
	a.model, a.stream = conversed(path)
	switch most, temperature := in.Inference.MaxTokens, in.Inference.Temperature; {
	case most != nil && *most < 1:
		return nil, badRequest("", "Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must be at least 1")
	case temperature != nil && (*temperature < 0 || *temperature > 1):
		return nil, badRequest("", "Value at 'inferenceConfig.temperature' failed to satisfy constraint: Member must be from 0 to 1")
	case most != nil:
		a.max = *most
	}
	if f := in.Output.Format; f != nil {
		if a.schema = json.RawMessage(f.Structure.Schema.Schema); !json.Valid(a.schema) {
			return nil, badRequest("", "outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON")
		}
	}
	if err := a.readToolConfig(&in); err != nil {
		return nil, err
	}
	return a, a.readConversation(&in)
}

func (a *ask) readToolConfig(in *converseBody) error {
	if in.ToolConfig == nil {
		return nil
	}
	if len(in.ToolConfig.Tools) == 0 {
		return badRequest("", "Value at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	for i, t := range in.ToolConfig.Tools {
		switch {
		case t.Spec == nil: // a point to cache up to
			continue
		case !toolID.MatchString(t.Spec.Name), t.Spec.Description != nil && *t.Spec.Description == "":
			return badRequest("", fmt.Sprintf("Value at 'toolConfig.tools.%d.toolSpec' failed to satisfy constraint", i))
		case !strings.Contains(string(t.Spec.Schema.JSON), `"object"`):
			return badRequest("", fmt.Sprintf("toolConfig.tools.%d.toolSpec.inputSchema.json.type must be one of the following: object.", i))
		}
		a.tools = append(a.tools, tool{name: t.Spec.Name, schema: t.Spec.Schema.JSON})
	}
	if c := in.ToolConfig.Choice; c != nil && c.Any != nil {
		a.toolChoice = "required"
	} else if c != nil && c.Tool != nil {
		a.toolChoice = c.Tool.Name
	}
	return nil
}

// The forms of ids and names.
var (
	toolID       = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	documentName = regexp.MustCompile(`^[a-zA-Z0-9\-()\[\]]+(?: [a-zA-Z0-9\-()\[\]]+)*$`)
)

// readConversation counts the prompt, finds the last thing that the user said, and holds the turns against the dialect's rules.
func (a *ask) readConversation(in *converseBody) error {
	size, others := 0, 0
	count := func(blocks []converseBlock) (said string) {
		for _, b := range blocks {
			if b.Text != nil {
				said += *b.Text
			} else if b.Image != nil || b.Document != nil {
				others++
			}
		}
		size += len(said)
		return said
	}
	count(in.System)
	open, used, names := map[string]bool{}, false, map[string]bool{}
	for i, m := range in.Messages {
		at := "messages." + strconv.Itoa(i)
		user := m.Role == "user"
		switch {
		case i%2 == 0 != user:
			return badRequest("", at+": A conversation must start with a user message, and roles must alternate.")
		case len(m.Content) == 0:
			return badRequest("", at+": The content field is empty.")
		}
		for k, b := range m.Content {
			where := at + ".content." + strconv.Itoa(k)
			switch {
			case b.Text != nil && strings.TrimSpace(*b.Text) == "":
				return badRequest("", "The text field in the ContentBlock object at "+where+" is blank.")
			case b.Document != nil && (!documentName.MatchString(b.Document.Name) || names[b.Document.Name]):
				return badRequest("", where+": the name of the document is not allowed or not unique.")
			case b.Document != nil:
				names[b.Document.Name] = true
			case b.Result != nil && !open[b.Result.ID]:
				return badRequest("", "The number of toolResult blocks at "+where+" exceeds the number of toolUse blocks of the previous turn.")
			case b.Result != nil:
				delete(open, b.Result.ID)
				count(b.Result.Content)
				others++
				used = true
			case b.Use != nil && (!toolID.MatchString(b.Use.ID) || len(b.Use.Input) == 0 || b.Use.Input[0] != '{' || open[b.Use.ID]):
				return badRequest("", where+": the toolUse block is not allowed.")
			}
		}
		if user && len(open) > 0 {
			return badRequest("", "Expected toolResult blocks at "+at+" for the toolUse blocks of the previous turn.")
		}
		for _, b := range m.Content {
			if b.Use != nil {
				open[b.Use.ID] = true
				used = true
				others++
			}
		}
		if said := count(m.Content); user {
			a.last = said
		}
	}
	switch {
	case len(in.Messages) == 0:
		return badRequest("", "A conversation must have at least one message.")
	case used && in.ToolConfig == nil:
		return badRequest("", "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
	}
	a.prompt = promptTokens(size, others)
	return nil
}

func (bedrock) embed(string, []byte) (*ask, error) {
	return nil, badRequest("", "There are no embeddings here.")
}
