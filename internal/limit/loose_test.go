package limit

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestWhatNobodyBoundsQuarantinesNobody: a budget of tokens lets tools pass that the provider runs, and what these read is billed beyond
// what was reserved. That is over that budget, and no fault of the target: the budgets of others go on using it.
func TestWhatNobodyBoundsQuarantinesNobody(t *testing.T) {
	t.Parallel()
	for tool, bound := range map[string]bool{`[{"type":"web_search"}]`: false, `[{"type":"function","function":{"name":"f"}}]`: true} {
		b := onBench(t, Definitions{Budgets: []Budget{
			daily(TokenCount, 1_000_000), daily(USD, 1_000_000_000, func(b *Budget) { b.Project, b.ID = "other", "bgt_other" }),
		}})
		x := exchange(llm.OpChat, 36)
		x.Request.Set("tools", []byte(tool))
		if _, err := b.call(x, target, 60_000, 5); err != nil {
			t.Fatal(err)
		}
		other := exchange(llm.OpChat, 36)
		other.Caller.Project = "other"
		_, err := b.call(other, target, 5, 5)
		if quarantined := err != nil; quarantined != bound || (len(b.over) > 0) != bound {
			t.Errorf("with %s: quarantined %v, told of %v", tool, err, b.over)
		}
	}
}
