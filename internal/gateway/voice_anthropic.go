package gateway

import (
	"net/http"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/anthropic"
)

// anthropicVoice speaks to clients of Anthropic's messages.
type anthropicVoice struct{}

func (anthropicVoice) dialect() llm.Dialect { return llm.Anthropic }

func (anthropicVoice) idHeader() string { return "Request-Id" }

func (anthropicVoice) parse(op llm.Operation, body []byte, r *http.Request) (req *llm.Request, err error) {
	if op == llm.OpCount {
		req, err = anthropic.ParseCount(body)
	} else {
		req, err = anthropic.ParseMessages(body)
	}
	if err != nil {
		return nil, err
	}
	req.Version = r.Header.Get("Anthropic-Version")
	req.Betas = strings.Join(r.Header["Anthropic-Beta"], ",")
	req.Beta = r.URL.RawQuery == "beta=true"
	return req, nil
}

func (anthropicVoice) status(f *fault.Error) int { return anthropic.Status(f) }

func (anthropicVoice) appendError(dst []byte, f *fault.Error, id string) []byte {
	return anthropic.AppendError(dst, f, id)
}

func (anthropicVoice) appendErrorEvent(dst []byte, f *fault.Error, id string) []byte {
	return anthropic.AppendErrorEvent(dst, f, id)
}

func (anthropicVoice) appendModel(dst []byte, m model) []byte {
	return anthropic.AppendModel(dst, m.name)
}

func (anthropicVoice) appendModels(dst []byte, all []model) []byte {
	names := make([]string, 0, len(all))
	for _, m := range all {
		names = append(names, m.name)
	}
	return anthropic.AppendModelList(dst, names)
}

func (anthropicVoice) writer(x *pipeline.Exchange, from llm.Dialect) writer {
	if from == llm.Anthropic || x.Op == llm.OpCount {
		return anthropicSame{x}
	}
	return &anthropicOther{anthropic.Translator{ID: "msg_" + x.ID, Model: x.Request.Model}}
}

// An anthropicSame writes what came in the dialect.
type anthropicSame struct{ x *pipeline.Exchange }

func (w anthropicSame) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	if w.x.Op == llm.OpCount {
		return anthropic.AppendCount(dst, ev.Count), nil
	}
	return anthropic.AppendAnswer(dst, &ev, w.x.Request.Model), nil
}

func (w anthropicSame) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	return anthropic.AppendEvent(dst, &ev, w.x.Request.Model), nil
}

// An anthropicOther writes what came in another dialect.
type anthropicOther struct{ t anthropic.Translator }

func (w *anthropicOther) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendAnswer(dst, &ev)
}

func (w *anthropicOther) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendEvent(dst, &ev)
}
