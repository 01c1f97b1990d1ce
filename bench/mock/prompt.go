package mock

import (
	"bytes"
	"fmt"
	"strings"
)

// A Dialect is one that clients speak.
type Dialect string

// The dialects of clients.
const (
	OpenAI    Dialect = "openai"
	Anthropic Dialect = "anthropic"
)

// A message is one of a prompt. Its text is as it stands within a JSON string.
type message struct{ role, text string }

// The two prompts: two messages of 1 KB together, and ten of 10 KB.
var (
	prompt1  = messages(2, 1<<10)
	prompt10 = messages(10, 10<<10)
)

// Prompt is the members of a request that hold the messages of about 1 or 10 KB, as clients of the dialect write them: OpenAI's or
// Anthropic's.
func Prompt(d Dialect, kilobytes int) (string, error) {
	write := map[Dialect]func([]message) string{OpenAI: asOpenAI, Anthropic: asAnthropic}[d]
	all := map[int][]message{1: prompt1, 10: prompt10}[kilobytes]
	if write == nil || all == nil {
		return "", fmt.Errorf("there is no prompt of %d KB in the dialect %q (1 and 10 there are, of openai and anthropic)", kilobytes, d)
	}
	return write(all), nil
}

// messages writes n messages with so many bytes of text in all, with escapes as in real prompts: line ends and quotes.
func messages(n, size int) []message {
	const sentence = `Order 4711 came late,\nand the customer writes: \"where is my parcel?\" Answer in two lines. `
	all := []message{{"system", "You answer for a shop. Be brief."}}
	for i := 1; i < n; i++ {
		role := "user"
		if i%2 == 0 {
			role = "assistant"
		}
		text := strings.Repeat(sentence, size/(n-1)/len(sentence))
		all = append(all, message{role, fmt.Sprintf("%sMessage %d.", text, i)})
	}
	return all
}

// each writes messages, for whom form has %[1]s for the role and %[2]s for the text, with commas between them.
func each(all []message, form string) string {
	var b strings.Builder
	for i, m := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, form, m.role, m.text)
	}
	return b.String()
}

// asOpenAI is how clients of OpenAI write a prompt, and how it reaches its providers, whoever asked.
func asOpenAI(all []message) string {
	return `"messages":[` + each(all, `{"role":"%[1]s","content":"%[2]s"}`) + `]`
}

// asAnthropic is how clients of Anthropic write a prompt.
func asAnthropic(all []message) string {
	return `"system":"` + all[0].text + `","messages":[` + each(all[1:], `{"role":"%[1]s","content":"%[2]s"}`) + `]`
}

// The others are how prompts are written that came from clients of another dialect.

func asBlocks(all []message) string {
	const block = `{"type":"text","text":"%[2]s"}`
	return `"system":[` + each(all[:1], block) + `],"messages":[` + each(all[1:], `{"role":"%[1]s","content":[`+block+`]}`) + `]`
}

func asContents(all []message) string {
	const part = `{"text":"%[2]s"}`
	turns := strings.ReplaceAll(each(all[1:], `{"role":"%[1]s","parts":[`+part+`]}`), `"role":"assistant"`, `"role":"model"`)
	return `"contents":[` + turns + `],"systemInstruction":{"parts":[` + each(all[:1], part) + `]}`
}

func asConverse(all []message) string {
	const block = `{"text":"%[2]s"}`
	return `"messages":[` + each(all[1:], `{"role":"%[1]s","content":[`+block+`]}`) + `],"system":[` + each(all[:1], block) + `]`
}

// written are both prompts in some forms.
func written(forms ...func([]message) string) (all [][]byte) {
	for _, form := range forms {
		all = append(all, []byte(form(prompt1)), []byte(form(prompt10)))
	}
	return all
}

// intact reports whether the body holds one of the prompts in a form of the dialect, byte for byte.
func (s *speech) intact(body []byte) bool {
	for _, p := range s.prompts {
		if len(p) <= len(body) && bytes.Contains(body, p) {
			return true
		}
	}
	return false
}
