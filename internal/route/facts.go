package route

import (
	"bytes"
	"slices"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Facts are what of a request decides where it may go. They are found out as far as somebody asks, and once.
type facts struct {
	x      *pipeline.Exchange
	tokens int64 // of the prompt, roughly: a quarter of its bytes
	exact  int64 // counted; 0 is not yet
	found  needs // of media
	known  bool  // found is
}

// needs is a set of abilities.
type needs uint8

const (
	needsTools needs = 1 << iota
	needsVision
	needsAudio
	needsPDF
	needsVectors
	needsWords

	needsMedia = needsVision | needsAudio | needsPDF
)

// abilities are what a known model can or cannot do, and the words for that.
var abilities = []struct {
	need    needs
	ability string
	lack    string
}{
	{needsVectors, catalog.Embeddings, "makes no vectors"},
	{needsTools, catalog.Tools, "takes no tools"},
	{needsVision, catalog.Vision, "takes no images"},
	{needsAudio, catalog.Audio, "takes no sound"},
	{needsPDF, catalog.PDF, "takes no PDF files"},
}

// lacks are the abilities that a model of the catalogue does not have. Schemas are not among them: a codec may find a way.
func lacks(m *catalog.Model) (n needs) {
	for _, a := range abilities {
		if !m.Can(a.ability) {
			n |= a.need
		}
	}
	if m.Can(catalog.Embeddings) {
		n |= needsWords
	}
	return n
}

// lackWords is the first thing that is asked and lacking.
func lackWords(n needs) string {
	for _, a := range abilities {
		if n&a.need != 0 {
			return a.lack
		}
	}
	return "does not chat"
}

// Bounds of the rough count: of what is larger, most may be pictures, which do not count by their bytes.
const (
	textOnly  = 64 << 10
	manyBytes = 8000 // tokens of a body that holds more than text
)

func (f *facts) of(x *pipeline.Exchange) {
	f.x = x
	size := x.Request.Size()
	f.tokens = (size + 3) / 4
	if size > textOnly && x.Request.AnyText(func(text []byte) bool { return bytes.Contains(text, []byte("base64")) }) {
		f.tokens = min(f.tokens, manyBytes)
	}
}

// asks are those of some abilities that the request needs. Only they are looked for: whether there are pictures may take
// decoding it.
func (f *facts) asks(some needs) (found needs) {
	r := f.x.Request
	switch f.x.Op {
	case llm.OpEmbeddings:
		return needsVectors & some
	case llm.OpChat:
		found = needsWords
	default:
		return 0
	}
	if some&needsTools != 0 && len(r.Field("tools")) > 2 {
		found |= needsTools
	}
	if some&needsMedia != 0 {
		found |= f.media()
	}
	return found & some
}

// mediaMarks are in every body with pictures, sound or files, whatever its dialect.
var mediaMarks = [][]byte{[]byte(`image`), []byte(`audio`), []byte(`file`), []byte(`document`)}

// media looks for pictures, sound and files in the messages. A body that cannot be read says nothing: whoever is asked will
// say so.
func (f *facts) media() needs {
	if f.known {
		return f.found
	}
	f.known = true
	marked := func(text []byte) bool {
		return slices.ContainsFunc(mediaMarks, func(mark []byte) bool { return bytes.Contains(text, mark) })
	}
	if !f.x.Request.AnyText(marked) {
		return 0
	}
	if chat, err := f.x.Request.Chat(); err == nil {
		for i := range chat.Messages {
			f.found |= mediaOf(chat.Messages[i].Parts)
		}
	}
	return f.found
}

func mediaOf(parts []llm.Part) (n needs) {
	for i := range parts {
		switch p := &parts[i]; p.Kind {
		case llm.PartImage:
			n |= needsVision
		case llm.PartAudio:
			n |= needsAudio
		case llm.PartFile:
			n |= needsPDF
		case llm.PartToolResult:
			n |= mediaOf(p.Result)
		}
	}
	return n
}

// fits reports whether prompt and answer are within a context, as far as can be told: only what is sure not to fit does not.
func (f *facts) fits(context int64, count func(string, *llm.Request) (int64, bool), model string) bool {
	most := f.x.Request.Size()/2 + f.x.Request.MaxOutput // hardly any text has a token in less than two bytes
	if context <= 0 || most <= context || count == nil || f.x.Op != llm.OpChat {
		return true
	}
	if f.exact == 0 {
		f.exact, _ = count(model, f.x.Request)
	}
	return f.exact+f.x.Request.MaxOutput <= context
}
