package codectest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/wire/eventstream"
)

// framed makes the bytes of a stream of its lines, each of which is one of
//
//	event NAME JSON
//	exception NAME JSON
//	long NAME BYTES    an event with so many bytes of text in it
//	corrupt            what comes before has a wrong byte in its last frame
//	cut BYTES          what comes before lacks so many bytes
func framed(t *testing.T, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, data, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(data)
		switch word {
		case "", "#":
		case "event", "exception":
			b = eventstream.Append(b, eventstream.Event{Name: name, Failed: word == "exception", Data: []byte(data)})
		case "long":
			if err != nil {
				t.Fatalf("upstream.frames: %s: %v", line, err)
			}
			data := `{"contentBlockIndex":0,"delta":{"text":"` + strings.Repeat("x", n) + `"}}`
			b = eventstream.Append(b, eventstream.Event{Name: name, Data: []byte(data)})
		case "corrupt":
			b[len(b)-6] ^= 1
		case "cut":
			n, err := strconv.Atoi(rest)
			if err != nil {
				t.Fatalf("upstream.frames: %s: %v", line, err)
			}
			b = b[:len(b)-n]
		default:
			t.Fatalf("upstream.frames: %q is not known", line)
		}
	}
	return b
}
