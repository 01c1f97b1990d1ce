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

	// Parts that may have rates of their own, as far as the provider tells them apart; all are 0 of nearly all calls.
	Parts `json:",inline"`
}

// Parts are what of a usage a provider counts apart.
type Parts struct {
	CacheWriteHour    int64 `json:"cache_write_1h,omitzero"` // of Usage.CacheWrite, what is kept for an hour
	CacheWriteMinutes int64 `json:"cache_write_5m,omitzero"` // of Usage.CacheWrite, what is kept for five minutes; the rest is not told
	InputAudio        int64 `json:"input_audio,omitzero"`    // of Usage.Input, sound that was heard, cached sound included
	CachedAudio       int64 `json:"cached_audio,omitzero"`   // of InputAudio and of Usage.CachedInput
	OutputAudio       int64 `json:"output_audio,omitzero"`   // of Usage.Output, sound that was spoken
	OutputImage       int64 `json:"output_image,omitzero"`   // of Usage.Output, pictures that were made
	Searches          int64 `json:"searches,omitzero"`       // that the provider made; no tokens
}

// Add sums two usages; the sum is an estimate if either is. Numbers saturate instead of wrapping around.
func (u Usage) Add(v Usage) Usage {
	sum := Usage{
		Input: plus(u.Input, v.Input), Output: plus(u.Output, v.Output),
		CachedInput: plus(u.CachedInput, v.CachedInput), CacheWrite: plus(u.CacheWrite, v.CacheWrite),
		Reasoning: plus(u.Reasoning, v.Reasoning), Estimated: u.Estimated || v.Estimated, Parts: u.Parts,
	}
	if v.Parts != (Parts{}) {
		to, from := sum.Parts.All(), v.Parts.All()
		for i := range to {
			*to[i] = plus(*to[i], *from[i])
		}
	}
	return sum
}

// PartNames are the names of the parts in JSON and in CSV, in the order of [Parts.All].
var PartNames = [7]string{"cache_write_1h", "cache_write_5m", "input_audio", "cached_audio", "output_audio", "output_image", "searches"}

// All are the parts, always in this order: it is that of entries in journals, so what is new comes last.
func (p *Parts) All() [7]*int64 {
	return [...]*int64{&p.CacheWriteHour, &p.CacheWriteMinutes, &p.InputAudio, &p.CachedAudio, &p.OutputAudio, &p.OutputImage, &p.Searches}
}
