package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// floats is what a client's library makes of a vector in base64.
func floats(t interface{ Fatalf(string, ...any) }, s string) []float32 {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(data)%4 != 0 {
		t.Fatalf("%q: %d bytes, %v", s, len(data), err)
	}
	all := make([]float32, len(data)/4)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return all
}

func encodeFloats(v []float32) string {
	var data []byte
	for _, n := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(n))
	}
	return base64.StdEncoding.EncodeToString(data)
}

// TestTrap29Embeddings: a server that ignores the form that was asked for must not give the client wrong vectors.
func TestTrap29Embeddings(t *testing.T) {
	t.Parallel()
	const numbers = `{"model":"e", "data":[{"index":0, "embedding":[1,-0.5, 1e-3]},{"embedding" : [0,2,3],"index":1}], "usage":{}}`
	text := fmt.Sprintf(`{"model":"e", "data":[{"index":0, "embedding":%q},{"embedding" : %q,"index":1}], "usage":{}}`,
		encodeFloats([]float32{1, -0.5, 1e-3}), encodeFloats([]float32{0, 2, 3}))
	got, err := FixEmbeddings([]byte(numbers), true, 2)
	if err != nil || string(got) != text {
		t.Errorf("to base64: %v\n got %s\nwant %s", err, got, text)
	}
	back, err := FixEmbeddings(got, false, 2)
	if want := strings.ReplaceAll(strings.ReplaceAll(numbers, "-0.5, 1e-3", "-0.5,0.001"), `"embedding" :`, `"embedding" :`); err != nil || string(back) != want {
		t.Errorf("to numbers: %v\n got %s\nwant %s", err, back, want)
	}
	for _, same := range []struct {
		body   string
		base64 bool
	}{{numbers, false}, {text, true}} {
		body := []byte(same.body)
		if got, err := FixEmbeddings(body, same.base64, 2); err != nil || &got[0] != &body[0] {
			t.Errorf("what is right already has to stay: %s, %v", got, err)
		}
	}
}

func TestFixEmbeddingsRefuses(t *testing.T) {
	t.Parallel()
	nan, inf := encodeFloats([]float32{float32(math.NaN())}), encodeFloats([]float32{float32(math.Inf(-1))})
	for name, data := range map[string]string{
		"NaN in base64":     `{"embedding":"` + nan + `"}`,
		"infinity":          `{"embedding":"` + inf + `"}`,
		"NaN":               `{"embedding":[NaN]}`,
		"too large":         `{"embedding":[1e39]}`,
		"a string in it":    `{"embedding":[1,"2"]}`,
		"an array in it":    `{"embedding":[[1]]}`,
		"no base64":         `{"embedding":"***"}`,
		"cut base64":        `{"embedding":"AACAPwA="}`,
		"other dimension":   `{"embedding":[1,2]},{"embedding":[1]}`,
		"empty":             `{"embedding":[]}`,
		"empty text":        `{"embedding":""}`,
		"null":              `{"embedding":null}`,
		"none":              ``,
		"not an object":     `1`,
		"no vector":         `{"index":0}`,
		"cut":               `{"embedding":[1`,
		"fewer than inputs": `{"embedding":[1]},{"embedding":[2]}`,
	} {
		for _, want := range []bool{true, false} {
			inputs := 0
			if strings.HasPrefix(name, "fewer") {
				inputs = 3
			}
			if got, err := FixEmbeddings([]byte(`{"data":[`+data+`]}`), want, inputs); !errors.Is(err, ErrGarbage) {
				t.Errorf("%s, base64 %v: %s, %v", name, want, got, err)
			}
		}
	}
}

func TestFixEmbeddingsIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Float32(), 1, 9).Draw(t, "vector")
		body := fmt.Appendf(nil, `{"data":[{"embedding":%q}]}`, encodeFloats(want))
		numbers, err := FixEmbeddings(body, false, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Data []struct{ Embedding []float32 }
		}
		if err := json.Unmarshal(numbers, &got); err != nil {
			t.Fatal(err)
		}
		text, err := FixEmbeddings(numbers, true, 1)
		if err != nil || string(text) != string(body) {
			t.Fatalf("there and back: %s, %v; want %s", text, err, body)
		}
		for i, n := range floats(t, encodeFloats(want)) {
			if got.Data[0].Embedding[i] != n {
				t.Fatalf("%v became %v", want, got.Data[0].Embedding)
			}
		}
	})
}

func BenchmarkFixEmbeddings(b *testing.B) {
	vector := strings.Repeat("-0.012345678,", 1535) + "0.5"
	body := []byte(`{"data":[{"embedding":[` + vector + `]}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FixEmbeddings(body, true, 1); err != nil {
			b.Fatal(err)
		}
	}
}
