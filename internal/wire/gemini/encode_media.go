package gemini

import (
	"encoding/base64"
	"net/url"
	"path"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// types are what files are, by the ending of their name.
var types = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".heic": "image/heic", ".heif": "image/heif",
	".pdf": "application/pdf", ".txt": "text/plain", ".md": "text/markdown", ".html": "text/html", ".htm": "text/html", ".csv": "text/csv", ".xml": "text/xml",
	".json": "application/json", ".wav": "audio/wav", ".mp3": "audio/mp3", ".flac": "audio/flac", ".ogg": "audio/ogg", ".aac": "audio/aac", ".m4a": "audio/mp4",
	".mp4": "video/mp4", ".mov": "video/mov", ".webm": "video/webm", ".mpeg": "video/mpeg",
}

// mediaType is what a medium is: as it says, else by its name, else by its address. "" if nothing tells.
func mediaType(p *llm.Part, address string) string {
	kind, _, _ := strings.Cut(p.MediaType, ";")
	if kind = strings.TrimSpace(kind); kind != "" && kind != "application/octet-stream" {
		return kind
	}
	if t := types[strings.ToLower(path.Ext(p.Filename))]; t != "" {
		return t
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return types[strings.ToLower(path.Ext(u.Path))]
}

// medium writes an image, a recording or a document: its bytes, or where the provider finds it.
func (e *encoder) medium(at int, p *llm.Part) {
	e.dropped("detail", p.Detail != "" && p.Detail != "auto")
	address := p.URL
	if address == "" {
		address = p.FileID
	}
	kind := mediaType(p, address)
	const how = "Send its bytes, or a link to it that begins with https:// or gs:// and ends as files of its type do."
	switch {
	case kind == "":
		e.Cannot(e.Place(at), "a file of a type that is not said", how)
		return
	case p.Data != nil:
		e.Comma()
		e.Dst = append(e.Dst, '{')
		e.Name(inlineField)
		e.Dst = append(e.Dst, '{')
		e.Member(mimeField, kind)
		e.Dst = append(e.Dst, `,"data":"`...)
		e.Dst = base64.StdEncoding.AppendEncode(e.Dst, p.Data)
		e.Dst = append(e.Dst, `"}}`...)
		return
	case !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "gs://"):
		e.Cannot(e.Place(at), "a file that is kept elsewhere", how)
		return
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Name("fileData")
	e.Dst = append(e.Dst, '{')
	e.Member(mimeField, kind)
	e.Member("fileUri", address)
	e.Dst = append(e.Dst, `}}`...)
}
