package sim

import (
	"net/http"
	"strings"
)

// azure is OpenAI's dialect at Azure's paths, with what Azure's filter of content adds.
type azure struct{ openAI }

func (azure) operation(method, path string) (operation, bool) {
	tail, v1 := strings.CutPrefix(path, "/openai/v1")
	_, of := deployment(path)
	if of != "" {
		tail = of
	}
	switch {
	case method == http.MethodGet && (v1 && tail == "/models" || path == "/openai/models"):
		return opModels, true
	case method != http.MethodPost, !v1 && of == "":
		return 0, false
	case tail == "/chat/completions":
		return opChat, true
	case tail == "/embeddings":
		return opEmbed, true
	}
	return 0, false
}

// deployment is what a path of the older form names, and what stands behind the name; tail is "" for other paths.
func deployment(path string) (name, tail string) {
	rest, ok := strings.CutPrefix(path, "/openai/deployments/")
	for _, end := range []string{"/chat/completions", "/embeddings"} {
		if before, found := strings.CutSuffix(rest, end); ok && found && before != "" {
			return before, end
		}
	}
	return "", ""
}

// modelOf is the model that the path names, nil if that is left to the body.
func modelOf(path string) *string {
	if name, tail := deployment(path); tail != "" {
		return &name
	}
	return nil
}

func (azure) chat(path string, body []byte) (*ask, error)  { return chatOf(body, modelOf(path)) }
func (azure) embed(path string, body []byte) (*ask, error) { return embedOf(body, modelOf(path)) }

// opening begins with what the filter thinks of the prompt.
func (d azure) opening(a *answer) []frame {
	a.do.azure = true
	return d.openAI.opening(a)
}

// failure has, where the filter is to blame, what it found.
func (d azure) failure(r *refusal) []byte {
	b := d.openAI.failure(r)
	if r.code != "content_filter" {
		return b
	}
	const found = `,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"violence":{"filtered":true,"severity":"high"}}}`
	end := strings.LastIndexByte(string(b[:len(b)-1]), '}')
	return append(append(append([]byte(nil), b[:end]...), found...), b[end:]...)
}

func (d azure) failed(r *refusal) frame { return frame{data: d.failure(r)} }
