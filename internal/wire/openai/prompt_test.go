package openai

import (
	"strings"
	"testing"
)

func TestPromptText(t *testing.T) {
	t.Parallel()
	r := mustParse(t, everything)
	text, tokens := PromptText([]byte(">"), r)
	got := "\n" + string(text)
	for _, want := range []string{
		"\ndeveloper\n", "\nBe brief.\n", "\nann\n", "\nLook: 😀\n", "\nThinking.\n", "\nf\n", "\n{\"a\":1}\n", "\nls\n", "\n42\n", "\nNo.\n",
		`"description": "shell"`, `"schema": {"type": "object"}`, "a.pdf",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, wrong := range []string{"iVBOR", "UklGR", "JVBER", "https://", "file-1", "c1", "content", "guided", "gpt-5"} {
		if strings.Contains(got, wrong) {
			t.Errorf("%q is no prompt", wrong)
		}
	}
	if tokens != 0 || text[0] != '>' {
		t.Errorf("%d tokens; beginning %q", tokens, text[:10])
	}
}

func TestPromptTextOfEdits(t *testing.T) {
	t.Parallel()
	r := mustParse(t, `{"model":"m","messages":[{"role":"user","content":"secret"}],"tools":null}`)
	r.Set("messages", []byte(`[{"role" : "user","content" : "[masked]"}]`))
	if text, _ := PromptText(nil, r); string(text) != "user\n[masked]\n" {
		t.Errorf("%q", text)
	}
}

func TestPromptTextOfEmbeddings(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		text   string
		tokens int
	}{
		`{"model":"m","input":"a \u00e9"}`:      {"a é\n", 0},
		`{"model":"m","input":["a", "b"]}`:      {"a\nb\n", 0},
		`{"model":"m","input":[1, 2,3]}`:        {"", 3},
		`{"model":"m","input":[[1,2],[3],[4]]}`: {"", 4},
	} {
		r, err := ParseEmbeddings([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if text, tokens := PromptText(nil, r); string(text) != want.text || tokens != want.tokens {
			t.Errorf("%s: %q and %d tokens", body, text, tokens)
		}
	}
}
