package console

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/audit"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after string
		want          []changed
	}{
		"made":           {``, `{"name":"a","strict":true,"empty":"","nothing":null}`, []changed{{"name", "", "a"}, {"strict", "", "true"}}},
		"changed":        {`{"name":"a","n":1,"same":[1,2]}`, `{"name":"b","n":1,"same":[1,2]}`, []changed{{"name", "a", "b"}}},
		"inside":         {`{"labels":{"x":"1","y":"2"}}`, `{"labels":{"y":"3"}}`, []changed{{"labels.x", "1", ""}, {"labels.y", "2", "3"}}},
		"gone":           {`{"name":"a"}`, ``, []changed{{"name", "a", ""}}},
		"not an object":  {``, `["a","b"]`, []changed{{"", "", `["a","b"]`}}},
		"nothing at all": {``, ``, nil},
	} {
		if got := differences([]byte(c.before), []byte(c.after)); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %s", name, cmp.Diff(c.want, got))
		}
	}
}

func TestJudgeChain(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]audit.State{
		"bad":  {Break: &audit.Break{Seq: 3, Text: "its hash is not that of its content"}},
		"warn": {},
	} {
		if got := judgeChain(&s); got.Class != want {
			t.Errorf("%+v is judged %+v", s, got)
		}
	}
}
