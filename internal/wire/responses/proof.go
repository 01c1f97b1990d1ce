package responses

import (
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// Clients of this dialect keep the encrypted content of reasoning and send it back, whoever gave it. Of other vendors, a proof of
// reasoning, or reasoning that only they can read, stands there behind the name of its dialect; the vendor's own has no colon.

// signers are the dialects whose proofs are named.
var signers = []llm.Dialect{llm.Anthropic, llm.Bedrock, llm.Gemini, llm.OpenAI}

// unreadable is between the name and reasoning that only its provider can read.
const unreadable = "redacted:"

// encrypted is a proof in the form in which clients of this dialect are given it.
func encrypted(by llm.Dialect, signature string) string { return string(by) + ":" + signature }

// proofOf is the contrary of encrypted; by is "" for what is the vendor's own.
func proofOf(sent string) (by llm.Dialect, signature string, redacted []byte) {
	name, rest, named := strings.Cut(sent, ":")
	if !named || rest == "" || !slices.Contains(signers, llm.Dialect(name)) {
		return "", "", nil
	}
	if data, ok := strings.CutPrefix(rest, unreadable); ok && data != "" {
		return llm.Dialect(name), "", []byte(data)
	}
	return llm.Dialect(name), rest, nil
}
