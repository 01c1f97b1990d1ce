package reconcile

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestPartsOfAnthropicsReports: both forms tell for how long the cache was kept, and how often was searched.
func TestPartsOfAnthropicsReports(t *testing.T) {
	t.Parallel()
	want := llm.Usage{
		Input: 3200, CachedInput: 200, CacheWrite: 1500, Output: 500,
		Parts: llm.Parts{CacheWriteHour: 1000, CacheWriteMinutes: 500, Searches: 10},
	}
	for name, text := range map[string]string{
		"JSON": `{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[{"uncached_input_tokens":1500,
			"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},"cache_read_input_tokens":200,"output_tokens":500,
			"server_tool_use":{"web_search_requests":10},"model":"claude-haiku-4-5"}]}],"has_more":false}`,
		"CSV": "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count\n" +
			"2025-08-01,claude-haiku-4-5,1500,500,1000,200,500,10\n",
	} {
		e, err := Read([]byte(text), "")
		if err != nil || len(e.Rows) != 1 || e.Rows[0].Usage != want {
			t.Errorf("%s: %v, %+v", name, err, e)
		}
	}
}
