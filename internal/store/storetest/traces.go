package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// testTraces looks for traces: those of callers, and those that exchanges begin themselves, whose ids are their own.
func testTraces(t *testing.T, s Store) {
	own, ownTrace := pipeline.NewID(day)
	theirs, other := w3c.TraceID{15: 1}, w3c.TraceID{0: 1}
	for i, one := range []struct {
		id    string
		trace w3c.TraceID
	}{
		{"1", w3c.TraceID{}}, {"2", theirs}, {own, ownTrace}, {"4", theirs},
		{"5", ownTrace}, // a caller goes on in the trace of an exchange
	} {
		r := record(one.id)
		r.Time, r.Trace, r.Status = day.Add(time.Duration(i)*time.Minute), one.trace, 200+i
		add(t, s, r)
	}
	for _, tt := range []struct {
		f    usage.Filter
		want string
	}{
		{usage.Filter{}, "5 4 " + own + " 2 1"},
		{usage.Filter{Trace: theirs}, "4 2"},
		{usage.Filter{Trace: theirs, Limit: 1}, "4"},
		{usage.Filter{Trace: theirs, After: "4"}, "2"},
		{usage.Filter{Trace: theirs, Status: "203"}, "4"},
		{usage.Filter{Trace: theirs, To: day.Add(2 * time.Minute)}, "2"},
		{usage.Filter{Trace: theirs, Project: "prj_1"}, "4 2"},
		{usage.Filter{Trace: theirs, Project: "prj_2"}, ""}, // another tenant's trace
		{usage.Filter{Trace: ownTrace}, "5 " + own},
		{usage.Filter{Trace: other}, ""},
	} {
		got, err := s.Records(context.WithoutCancel(t.Context()), tt.f)
		must(t, err)
		same(t, fmt.Sprintf("%+v", tt.f), ids(got), tt.want)
	}
	got, err := s.Record(t.Context(), "", "2")
	must(t, err)
	same(t, "the trace in the record", got.Trace, theirs)
}
