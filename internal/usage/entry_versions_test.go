package usage

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// TestEntriesOfEarlierVersionsAreRead reads what Penstocks of before have written of the full record: their journals may hold records that
// the store does not have yet. Each has less of it than the next.
func TestEntriesOfEarlierVersionsAreRead(t *testing.T) {
	t.Parallel()
	want := fullRecord()
	tries := func(forget func(*pipeline.Try)) {
		for i := range want.Tries {
			forget(&want.Tries[i])
		}
	}
	forgets := map[int]func(){
		7: func() { // no parts of usage
			want.Usage.Parts = llm.Parts{}
			tries(func(t *pipeline.Try) { t.Usage.Parts = llm.Parts{} })
		},
		6: func() {}, // all of a charge at length
		5: func() { // not how tries were served
			tries(func(t *pipeline.Try) { t.Tier, t.Region, t.FeeNano, t.Cut = "", "", 0, false })
		},
		4: func() { // no budgets
			tries(func(t *pipeline.Try) { t.MaxOutput, t.BoundNano, t.Charges = 0, 0, nil })
		},
		3: func() { // no choices
			want.Class, want.Choice = "", nil
			tries(func(t *pipeline.Try) { t.Endpoint, t.Credential, t.Hedge = "", 0, false })
		},
		2: func() { // not what providers say of their answers
			want.ClockMS, want.Stages[0].AtNS = 0, 0
			tries(func(t *pipeline.Try) { t.AnswerID, t.Model, t.Finish = "", "", nil })
		},
		1: func() { // no traces
			want.Trace, want.ParentSpan, want.TraceFlags, want.TraceState = w3c.TraceID{}, w3c.SpanID{}, 0, ""
		},
	}
	for version := len(forgets); version > 0; version-- {
		forgets[version]()
		payload, err := os.ReadFile(fmt.Sprintf("testdata/version%d.entry", version))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(string(payload))
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", version, diff)
		}
	}
}
