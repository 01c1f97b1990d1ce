package tokens

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/openai"
)

// chat makes a request whose canonical form is c.
func chat(c llm.Chat) *llm.Request {
	return &llm.Request{Op: llm.OpChat, DecodeChat: func([]byte) (*llm.Chat, error) { return &c, nil }}
}

func text(role llm.Role, s string) llm.Message {
	return llm.Message{Role: role, Plain: true, Parts: []llm.Part{{Kind: llm.PartText, Text: s}}}
}

func TestPromptOfText(t *testing.T) {
	t.Parallel()
	two := llm.Chat{Messages: []llm.Message{text(llm.RoleSystem, "hello world"), text(llm.RoleUser, "2 + 2 = 4")}}
	named := llm.Chat{Messages: []llm.Message{{Role: llm.RoleUser, Name: "hello world", Parts: []llm.Part{{Kind: llm.PartText, Text: "hi"}}}}}
	for _, c := range []struct {
		model string
		chat  llm.Chat
		want  int64
		exact bool
	}{
		{"gpt-4o", llm.Chat{Messages: []llm.Message{text(llm.RoleUser, "hi")}}, 8, true}, // as the API reports it
		{"gpt-4o", llm.Chat{}, 3, true},
		{"gpt-4o", two, 3 + 4 + 2 + 4 + 7, true},
		{"gpt-3.5-turbo", two, 3 + 4 + 2 + 4 + 7, true},
		{"gpt-4o", named, 3 + 4 + 1 + 2 + 1, true},
		{"gpt-5-mini", two, 20, false}, // how reasoning models frame messages is not documented
		{"claude-haiku-4-5", two, 22, false},
	} {
		if n, exact := Prompt(c.model, chat(c.chat)); n != c.want || exact != c.exact {
			t.Errorf("%s: %+v has %d tokens, exact %t; want %d, %t", c.model, c.chat.Messages, n, exact, c.want, c.exact)
		}
	}
}

// As the gateway has it: a body that was parsed.
func TestPromptOfABody(t *testing.T) {
	t.Parallel()
	r, err := openai.ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, exact := Prompt("gpt-4o", r); n != 8 || !exact {
		t.Errorf("%d tokens, exact %t; want 8, exactly", n, exact)
	}
	r, err = openai.ParseEmbeddings([]byte(`{"model":"m","input":["hello world"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, exact := Prompt("text-embedding-3-small", r); n != 2 || !exact {
		t.Errorf("%d tokens, exact %t; want 2, exactly", n, exact)
	}
}

// Everything that a model is given must count for something, and make the number an estimate.
func TestPromptOfMore(t *testing.T) {
	t.Parallel()
	base := llm.Chat{Messages: []llm.Message{text(llm.RoleUser, "hi")}}
	plain, _ := Prompt("gpt-4o", chat(base))
	part := func(p llm.Part) llm.Chat {
		return llm.Chat{Messages: []llm.Message{text(llm.RoleUser, "hi"), {Role: llm.RoleUser, Parts: []llm.Part{p}}}}
	}
	schema := []byte(`{"type": "object",   "properties": {"city": {"type": "string"}}}`)
	for name, c := range map[string]struct {
		chat        llm.Chat
		least, most int64
	}{
		"tool":        {llm.Chat{Messages: base.Messages, Tools: []llm.Tool{{Name: "weather", Schema: schema}}}, 20, 40},
		"format":      {llm.Chat{Messages: base.Messages, Format: llm.Format{Kind: llm.FormatJSONSchema, Schema: schema}}, 20, 40},
		"call":        {part(llm.Part{Kind: llm.PartToolCall, ToolName: "weather", Arguments: `{"city":"Kiel"}`}), 15, 30},
		"result":      {part(llm.Part{Kind: llm.PartToolResult, Result: []llm.Part{{Kind: llm.PartText, Text: "rain and wind"}}}), 7, 10},
		"reasoning":   {part(llm.Part{Kind: llm.PartReasoning, Text: "rain and wind"}), 7, 10},
		"other":       {part(llm.Part{Kind: llm.PartOther, Extra: []llm.Member{{Name: "x", Value: []byte(`"rain and wind"`)}}}), 7, 12},
		"picture":     {part(llm.Part{Kind: llm.PartImage, URL: "https://example.test/a.png"}), 600, 800},
		"low picture": {part(llm.Part{Kind: llm.PartImage, Detail: "low"}), 85, 95},
		"sound":       {part(llm.Part{Kind: llm.PartAudio, Data: make([]byte, 160_000)}), 100, 110},
		"file":        {part(llm.Part{Kind: llm.PartFile, FileID: "f"}), 1500, 1510},
		"big file":    {part(llm.Part{Kind: llm.PartFile, Data: make([]byte, 100_000)}), 5000, 5010},
	} {
		n, exact := Prompt("gpt-4o", chat(c.chat))
		if n -= plain; exact || n < c.least || n > c.most {
			t.Errorf("%s: %d tokens more (exact: %t), want %d to %d", name, n, exact, c.least, c.most)
		}
	}
}

func TestPromptOfEmbeddings(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]int64{
		`"hello world"`:                   2,
		`["hello world", "hello\u0020x"]`: 4,
		`[1, 2, 3]`:                       3,
		`[[1, 2, 3], [4]]`:                4,
		`""`:                              0,
	} {
		raw := []byte(`{"input":` + input + `}`)
		r := &llm.Request{Op: llm.OpEmbeddings, Raw: raw}
		r.Fields = []llm.Field{{Name: "input", Value: llm.Span{Start: len(`{"input":`), End: len(raw) - 1}}}
		if n, exact := Prompt("text-embedding-3-small", r); n != want || !exact {
			t.Errorf("%s has %d tokens, exact %t; want %d, exactly", input, n, exact, want)
		}
		if _, exact := Prompt("embed-v4.0", r); exact && strings.Contains(input, "hello") {
			t.Errorf("%s is exact for a vocabulary that nobody knows", input)
		}
	}
}

func TestPromptThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	broken := func([]byte) (*llm.Chat, error) { return nil, errors.New("broken") }
	for _, r := range []*llm.Request{{Raw: []byte(`{"a":"hello world"}`)}, {Raw: []byte(`{"a":"hello world"}`), DecodeChat: broken}} {
		if n, exact := Prompt("gpt-4o", r); n < 5 || n > 10 || exact {
			t.Errorf("%d tokens, exact %t; want those of the body, estimated", n, exact)
		}
	}
}

func TestLongPromptsAreSampled(t *testing.T) {
	t.Parallel()
	english := read(t, "english.txt")
	var c llm.Chat
	for range 1000 {
		c.Messages = append(c.Messages, text(llm.RoleUser, english))
	}
	one, _ := Count("gpt-4o", english)
	want := 1000 * (one + perMessage)
	n, exact := (Counter{}).Prompt("gpt-4o", chat(c))
	if off := float64(n)/float64(want) - 1; exact || off < -0.03 || off > 0.03 {
		t.Errorf("%d tokens, want about %d: %+.1f %% (exact: %t)", n, want, 100*off, exact)
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model         string
		width, height uint32
		detail        string
		want          int64
	}{
		{"gpt-4o", 1024, 1024, "high", 85 + 4*170},
		{"gpt-4o", 2048, 4096, "high", 85 + 6*170}, // both examples are in OpenAI's documentation
		{"gpt-4o", 4096, 8192, "low", 85},
		{"gpt-4o", 100, 100, "", 85 + 170},
		{"gpt-5", 512, 512, "", 70 + 140},
		{"gpt-4o-mini", 1024, 1024, "auto", 2833 + 4*5667},
		{"gpt-5-mini", 1024, 1024, "", 1659}, // 1,024 patches times 1.62
		{"gpt-4.1-nano", 4000, 4000, "", 3779},
		{"claude-haiku-4-5", 750, 100, "", 101},
		{"claude-haiku-4-5", 3000, 3000, "", 1600},
		{"gemini-2.5-flash", 384, 384, "", 258},
		{"gemini-2.5-flash", 1000, 500, "", 2 * 258},
	} {
		p := &llm.Part{Kind: llm.PartImage, Data: pngOf(c.width, c.height), Detail: c.detail}
		got := imageTokens(c.model, p)
		if got != c.want {
			t.Errorf("%s: a picture of %d by %d pixels, detail %q, has %d tokens, want %d", c.model, c.width, c.height, c.detail, got, c.want)
		}
		if most := MaxImage(c.model); got > most {
			t.Errorf("%s: %d tokens are over the bound of %d", c.model, got, most)
		}
	}
}

// A picture that says it is huge must not cost more than the largest that a provider takes.
func TestPicturesThatLie(t *testing.T) {
	t.Parallel()
	huge := pngOf(100_000, 100_000)
	if c, _, err := image.DecodeConfig(bytes.NewReader(huge)); err != nil || c.Width != 100_000 {
		t.Fatalf("the picture does not lie: %+v, %v", c, err)
	}
	for _, data := range [][]byte{huge, pngOf(1, 100_000), huge[:30], []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), []byte("no picture"), nil} {
		for _, model := range []string{"gpt-4o", "gpt-4o-mini", "gpt-5-mini", "claude-haiku-4-5", "gemini-2.5-pro", "x"} {
			if n := imageTokens(model, &llm.Part{Data: data}); n <= 0 || n > MaxImage(model) {
				t.Errorf("%s: %q has %d tokens, at most are %d", model, data, n, MaxImage(model))
			}
		}
	}
}

// pngOf makes the beginning of a PNG file of any size, without a picture.
func pngOf(width, height uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 0, 0, 0, 0) // eight bits of grey
	file := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(chunk)-4))
	file = append(file, chunk...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(chunk))
}
