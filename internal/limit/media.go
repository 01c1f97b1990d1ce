package limit

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
)

// mediaMarks are in every body with pictures or documents, whatever its dialect; a name may be written with escapes. callMarks are in
// every body with turns that a model may be given its reasoning of back.
var (
	imageMark    = []byte("image")
	documentMark = []byte(`"document"`)
	fileMarks    = [][]byte{[]byte("file_id"), []byte("file_data"), []byte("file_url"), []byte("item_reference"), []byte(`\u00`)}
	awayMarks    = [][]byte{[]byte(`"url"`), []byte(`"base64"`)}
	mediaMarks   = append([][]byte{imageMark, documentMark, []byte("input_audio")}, fileMarks...)
	callMarks    = [][]byte{[]byte("tool_call"), []byte("tool_use"), []byte("function_call"), []byte(`\u00`)}
)

// marked reports whether a request has any of several marks.
func marked(r *llm.Request, marks [][]byte) bool {
	return r.AnyText(func(text []byte) bool { return hasAny(text, marks) })
}

// hasAny is has for any of several marks: those with an underscore are looked for in one walk.
func hasAny(raw []byte, marks [][]byte) bool {
	at := 0
	for range 64 {
		i := bytes.IndexByte(raw[at:], '_')
		if i < 0 {
			return slices.ContainsFunc(marks, func(mark []byte) bool { return bytes.IndexByte(mark, '_') < 0 && bytes.Contains(raw, mark) })
		}
		at += i
		for _, mark := range marks {
			if in := bytes.IndexByte(mark, '_'); in >= 0 && at >= in && bytes.HasPrefix(raw[at-in:], mark) {
				return true
			}
		}
		at++
	}
	return slices.ContainsFunc(marks, func(mark []byte) bool { return has(raw, mark) })
}

// has is bytes.Contains, faster on text: it looks for a mark's underscore, which is rare there, instead of its first letter. Where it is
// not rare, it gives that up.
func has(raw, mark []byte) bool {
	in, at := bytes.IndexByte(mark, '_'), 0
	for misses := 0; in >= 0 && misses < 64; misses++ {
		i := bytes.IndexByte(raw[at:], '_')
		if i < 0 {
			return false
		}
		if at += i; at >= in && bytes.HasPrefix(raw[at-in:], mark) {
			return true
		}
		at++
	}
	return bytes.Contains(raw[max(at-max(in, 0), 0):], mark)
}

// chatOf is the chat as it is sent where it is translated, with all that is given back. It is not the exchange's own: that is made, and
// noted, when it is sent.
func chatOf(x *pipeline.Exchange) (*llm.Chat, error) {
	chat, err := x.Request.DecodeChat(x.Request.AppendBody(nil))
	if err != nil || x.Request.Completed == nil {
		return chat, err
	}
	noted := len(x.Decisions)
	x.Request.Completed(chat)
	x.Decisions = x.Decisions[:noted]
	return chat, nil
}

// contents are what of a chat is not to be counted by its bytes.
type contents struct {
	pictures  int64
	sound     int64 // tokens at most, of recordings that are in the body and whose length is known
	data      int64 // bytes that the body has for those two
	files     int64 // that are not in the body, or not as text
	reasoning int64 // bytes, of what is given back

	likely int64 // tokens of pictures, recordings and files, roughly
	packed int64 // bytes that the body has for them
}

// unread is what there may be in a body that cannot be read.
var unread = contents{files: 1}

// A look is what was found in a request, for those who ask again: to decode one with media in it is long.
type look struct {
	done, completed bool
	found           *contents
}

// of is contentsOf, once for a request and what it is completed with.
func (l *look) of(x *pipeline.Exchange, model string) *contents {
	completed := x.Request.Completed != nil
	switch {
	case l.done && l.completed == completed:
	case l.done && l.found == nil && completed && !completes(x): // and there is no more in it
		l.completed = true
	default:
		*l = look{true, completed, contentsOf(x, model)}
	}
	return l.found
}

// completes reports whether something of earlier answers may be given back in a request.
func completes(x *pipeline.Exchange) bool {
	return x.Request.Completed != nil && x.Allowance != nil && marked(x.Request, callMarks)
}

// contentsOf looks for what is not to be counted by its bytes; nil is nothing.
func contentsOf(x *pipeline.Exchange, model string) *contents {
	r := x.Request
	returned := completes(x)
	if x.Op != llm.OpChat || !returned && !marked(r, mediaMarks) {
		return nil
	}
	chat, err := chatOf(x)
	if err != nil {
		return &unread
	}
	c := &contents{}
	for i := range chat.Messages {
		c.add(model, chat.Messages[i].Parts)
	}
	if !returned {
		c.reasoning = 0
	}
	return c
}

func (c *contents) add(model string, parts []llm.Part) {
	for i := range parts {
		p := &parts[i]
		encoded := int64(len(p.Data)) / 3 * 4 // in base64, without what fills it up
		switch p.Kind {
		case llm.PartImage:
			if isPicture(p) {
				c.pictures++
				c.data += encoded
			} else {
				c.files++
			}
		case llm.PartAudio:
			if most, ok := soundOf(p.Data); ok {
				c.sound += most
				c.data += encoded
			} else {
				c.files++
			}
		case llm.PartFile:
			if p.Text == "" && !isText(p) {
				c.files++
			}
		case llm.PartOther:
			c.other(p.Extra)
			continue
		case llm.PartToolResult:
			c.add(model, p.Result)
			continue
		case llm.PartReasoning:
			c.reasoning += int64(len(p.Text)+len(p.Redacted)+len(p.Signature)) + 64
			continue
		case llm.PartToolCall:
			c.reasoning += int64(len(p.Signature))
			continue
		default:
			continue
		}
		if p.Text == "" {
			c.likely += tokens.Medium(model, p)
			c.packed += encoded
		}
	}
}

// other adds a part that is passed on as it is, and may be a picture or a document with something more than is known here. Pieces of text
// that are called a document are bounded by their bytes.
func (c *contents) other(members []llm.Member) {
	file, document, away := false, false, false
	for i := range members {
		raw := members[i].Value
		c.pictures += int64(bytes.Count(raw, imageMark))
		file = file || hasAny(raw, fileMarks)
		document = document || bytes.Contains(raw, documentMark)
		away = away || hasAny(raw, awayMarks)
	}
	if file || document && away {
		c.files++
	}
}

// isPicture reports whether a picture is one, of one image: some providers take documents and films in its place, by the type that the
// body gives or by the ending of an address.
func isPicture(p *llm.Part) bool {
	if p.Data == nil {
		if len(p.URL) > 5 && strings.EqualFold(p.URL[:5], "data:") { // it could not be decoded, and others may
			return false
		}
		address, err := url.Parse(p.URL)
		if err != nil {
			return false
		}
		switch strings.ToLower(path.Ext(address.Path)) {
		case "", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".heic", ".heif", ".bmp", ".avif":
			return true
		}
		return false
	}
	if !strings.HasPrefix(p.MediaType, "image/") {
		return false
	}
	is := http.DetectContentType(p.Data)
	return !strings.HasPrefix(is, "video/") && !strings.HasPrefix(is, "audio/") && is != "application/pdf"
}

// isText reports whether a document is text that is there, which has no more tokens than bytes. What a PDF begins with may stand a little
// behind its beginning.
func isText(p *llm.Part) bool {
	const head = 1024
	return len(p.Data) > 0 && strings.HasPrefix(p.MediaType, "text/") && utf8.Valid(p.Data) && bytes.IndexByte(p.Data, 0) < 0 &&
		!bytes.Contains(p.Data[:min(len(p.Data), head)], []byte("%PDF"))
}

// aSecond is the most tokens that a second of sound is in any model: Gemini's documentation has 32, OpenAI's models have 10.
const aSecond = 32

// soundOf is the most tokens that a recording comes to, by its own bytes; ok is false if those do not bound its length. A frame of MP3
// has at most 72 ms of sound (576 samples at 8 kHz) in at least 13 bytes, of what WAV holds as samples the head says how long one is.
func soundOf(data []byte) (most int64, ok bool) {
	if len(data) > 10 && string(data[:3]) == "ID3" {
		tag := 10 + (int(data[6]&127)<<21 | int(data[7]&127)<<14 | int(data[8]&127)<<7 | int(data[9]&127))
		data = data[min(tag, len(data)):]
	}
	switch {
	case len(data) > 1 && data[0] == 0xff && data[1]&0xe6 == 0xe2: // MPEG audio, layer III
		return int64(len(data))/4 + aSecond, true
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WAVE":
		return waveOf(data)
	}
	return 0, false
}

func waveOf(data []byte) (most int64, ok bool) {
	const pcm, float, aLaw, uLaw, format = 1, 3, 6, 7, 16
	for at := 12; at+8 <= len(data); {
		size := int64(binary.LittleEndian.Uint32(data[at+4:]))
		if string(data[at:at+4]) != "fmt " {
			if size > int64(len(data)) {
				return 0, false
			}
			at += 8 + int(size+size&1)
			continue
		}
		if size < format || at+8+format > len(data) {
			return 0, false
		}
		head := data[at+8:]
		kind := binary.LittleEndian.Uint16(head)
		rate, align := int64(binary.LittleEndian.Uint32(head[4:])), int64(binary.LittleEndian.Uint16(head[12:]))
		if rate < 1 || align < 1 || !slices.Contains([]uint16{pcm, float, aLaw, uLaw}, kind) {
			return 0, false
		}
		return (int64(len(data))/(rate*align) + 1) * aSecond, true
	}
	return 0, false
}
