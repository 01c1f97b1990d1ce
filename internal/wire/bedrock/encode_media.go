package bedrock

import (
	"encoding/base64"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// The formats that the dialect takes, by media type.
var (
	imageFormats = map[string]string{"image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
	audioFormats = map[string]string{
		"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg",
		"audio/opus": "opus", "audio/aac": "aac", "audio/mp4": "mp4", "audio/webm": "webm",
	}
	documentFormats = map[string]string{
		"application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/markdown": "md", "text/plain": "txt",
		"application/msword": "doc", "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
		"application/vnd.ms-excel": "xls", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	}
	extensions = []string{"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}
)

// medium writes an image, a recording or a document. The dialect takes their bytes only.
func (e *encoder) medium(at int, p *llm.Part) {
	kind, formats, what, hint := imageBlock, imageFormats, "an image", "Send it as JPEG, PNG, GIF or WebP."
	switch p.Kind {
	case llm.PartAudio:
		kind, formats, what, hint = audioBlock, audioFormats, "audio", "Send it as WAV or MP3."
	case llm.PartFile:
		kind, formats, what, hint = documentBlock, documentFormats, "a file", "Send PDF, text, HTML, Markdown, CSV, Word or Excel."
	}
	format := formats[p.MediaType]
	if p.Kind == llm.PartFile {
		format = documentFormat(p)
	}
	switch {
	case p.Data == nil && p.URL != "":
		e.Cannot(e.Place(at), what+" by its URL", "Send its bytes.")
		return
	case p.Data == nil:
		e.Cannot(e.Place(at), what+" by an id", "Send its bytes.")
		return
	case format == "":
		e.Cannot(e.Place(at), what+" of type "+p.MediaType, hint)
		return
	}
	e.open(kind)
	e.Member(formatField, format)
	if p.Kind == llm.PartFile {
		e.Member(nameField, e.documentName(p.Filename, format))
	}
	e.Name(sourceField)
	e.Dst = append(e.Dst, `{"bytes":"`...)
	e.Dst = base64.StdEncoding.AppendEncode(e.Dst, p.Data)
	e.Dst = append(e.Dst, `"}}`...)
	e.close(p.Cache)
}

// documentFormat is the dialect's word for what a file is, by its type or else by its name; "" if there is none.
func documentFormat(p *llm.Part) string {
	kind, _, _ := strings.Cut(p.MediaType, ";")
	if f := documentFormats[kind]; f != "" {
		return f
	}
	if ext := strings.ToLower(strings.TrimPrefix(path.Ext(p.Filename), ".")); slices.Contains(extensions, ext) {
		return ext
	}
	if strings.HasPrefix(kind, "text/") {
		return "txt"
	}
	return ""
}

// maxName is how long the name of a document may be, in bytes, without what makes it unique.
const maxName = 180

// documentName is a name in the characters that the dialect takes: letters, digits, hyphens, brackets and single spaces. No two
// documents of a request have the same.
func (e *encoder) documentName(file, format string) string {
	file = path.Base(strings.ReplaceAll(file, `\`, "/"))
	if ext := path.Ext(file); strings.EqualFold(ext, "."+format) {
		file = strings.TrimSuffix(file, ext) // the format says it
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-()[]", r):
			return r
		case r == ' ', r == '\t', r == '_':
			return ' '
		}
		return '-'
	}, file)
	name = strings.Join(strings.Fields(name), " ")
	if strings.Trim(name, "- ") == "" {
		name = "document"
	}
	name = strings.TrimSpace(name[:min(len(name), maxName)])
	unique := name
	for n := 2; e.names[unique]; n++ {
		unique = name + " (" + strconv.Itoa(n) + ")"
	}
	e.names[unique] = true
	return unique
}
