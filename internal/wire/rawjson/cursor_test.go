package rawjson

import "testing"

// A loop may be broken off, and what stands behind the value can be read all the same.
func TestCursorBreaks(t *testing.T) {
	t.Parallel()
	c := Cursor{Text: []byte(`[{"a":[1,[2]],"b":"}"},[[3],"]",4],5]`)}
	var got []string
	for i := range c.Elements() {
		switch i {
		case 0:
			for name := range c.Members() {
				got = append(got, string(name))
				break
			}
		case 1:
			for range c.Elements() {
				got = append(got, string(c.Value()))
				break
			}
		default:
			got = append(got, string(c.Value()))
		}
	}
	if want := "[a [3] 5]"; len(got) != 3 || got[0] != "a" || got[1] != "[3]" || got[2] != "5" {
		t.Errorf("%v, want %s", got, want)
	}
}
