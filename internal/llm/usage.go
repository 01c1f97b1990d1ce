package llm

// Usage counts the tokens of one try. Input holds all prompt tokens, cached and cache-written ones included; Output
// holds all generated tokens, reasoning included; so the parts are never added to the wholes.
type Usage struct {
	Input       int64 `json:"input"`
	Output      int64 `json:"output"`
	CachedInput int64 `json:"cached_input"`
	CacheWrite  int64 `json:"cache_write"`
	Reasoning   int64 `json:"reasoning"`
	// Estimated says that the provider reported no usage, or only a part of it, and that Penstock counted itself.
	Estimated bool `json:"estimated"`
}

// Add sums two usages; the sum is an estimate if either is. Numbers saturate instead of wrapping around.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Input: plus(u.Input, v.Input), Output: plus(u.Output, v.Output),
		CachedInput: plus(u.CachedInput, v.CachedInput), CacheWrite: plus(u.CacheWrite, v.CacheWrite),
		Reasoning: plus(u.Reasoning, v.Reasoning), Estimated: u.Estimated || v.Estimated,
	}
}
