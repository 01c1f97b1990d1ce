package responses

import "testing"

// What is parsed is decoded, and nothing is lost on the way into the canonical form and back.
func FuzzChat(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"model":"m","input":"hi"}`))
	f.Add([]byte(`{"model":"m","input":[{"role":"assistant","content":[]},{"type":"reasoning","summary":[{"type":"summary_text","text":"a"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Parse(body)
		if err != nil {
			return
		}
		first, err := DecodeChat(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := EncodeChat(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := DecodeChat(encoded)
		if err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
		if len(first.Messages) != len(second.Messages) || len(first.Tools) != len(second.Tools) || len(first.Extra) != len(second.Extra) {
			t.Fatalf("sent    %s\nencoded %s", body, encoded)
		}
	})
}
