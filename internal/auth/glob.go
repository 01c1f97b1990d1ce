package auth

import "github.com/penstock/penstock/internal/llm"

// match reports whether the name fits the glob of a key.
func match(glob, name string) bool { return llm.MatchName(glob, name) }
