package store

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// TestRecordsKeepTheirCharges: whatever stands in a record, its charges are read as they were written, and writing changes nothing.
func TestRecordsKeepTheirCharges(t *testing.T) {
	t.Parallel()
	text := rapid.SampledFrom([]string{"", "bgt_1", "anna", `,"charges":[[["x"]]]}`, `\","charges":[[`, "a\xffb", "grün\x00\n", "\\"})
	charges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Charge {
		return pipeline.Charge{
			Budget: text.Draw(t, "budget"), Subject: text.Draw(t, "subject"), Start: rapid.OneOf(rapid.Int64(), rapid.Just(int64(1_764_374_400_000_000)), rapid.Just(int64(-60_000_000))).Draw(t, "start"),
			Lease: text.Draw(t, "lease"), Held: rapid.Int64().Draw(t, "held"), Tokens: rapid.Bool().Draw(t, "tokens"),
		}
	}), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		r := &usage.Record{ID: "ex_1", User: text.Draw(t, "user"), Tags: []string{text.Draw(t, "tag")}}
		r.Tries = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pipeline.Try {
			return pipeline.Try{ID: text.Draw(t, "id"), CostNano: 7, Charges: charges.Draw(t, "charges")}
		}), 0, 3).Draw(t, "tries")
		var before bytes.Buffer
		if err := json.MarshalWrite(&before, r, jsontext.AllowInvalidUTF8(true)); err != nil {
			t.Fatal(err)
		}
		b, err := encode(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		var after bytes.Buffer
		if err := json.MarshalWrite(&after, r, jsontext.AllowInvalidUTF8(true)); err != nil || !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Fatalf("it was\n%s and is\n%s (%v)", before.Bytes(), after.Bytes(), err)
		}
		got, err := decode(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		old, err := decode(before.Bytes()) // as records were written before
		if err != nil {
			t.Fatalf("%v\n%s", err, before.Bytes())
		}
		if diff := cmp.Diff(old, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, b)
		}
	})
}

// TestChargesThatCannotBeReadAreTold of a text that something else has changed.
func TestChargesThatCannotBeReadAreTold(t *testing.T) {
	t.Parallel()
	r := &usage.Record{ID: "ex_1", Tries: []pipeline.Try{{Charges: []pipeline.Charge{{Budget: "bgt_1", Start: 3_600_000_000, Lease: "l", Held: 5, Tokens: true}}}}}
	b, err := encode(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(b)
	for _, to := range []string{`[["bgt_1","",60,"l",5,1]],[]`, `[["bgt_1","",60,"l"]]`, `[["bgt_1","",60,"l","5"]]`, `[[1,"",60,"l",5]]`, `[5]`} {
		changed := strings.Replace(whole, `[["bgt_1","",60,"l",5,1]]`, to, 1)
		if changed == whole {
			t.Fatalf("%s has no charges as it should", whole)
		}
		if _, err := decode([]byte(changed)); err == nil {
			t.Errorf("%s was read", changed)
		}
	}
	if _, err := decode([]byte(whole)); err != nil {
		t.Error(err)
	}
}
