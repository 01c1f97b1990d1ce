package responses

import (
	"strings"
	"testing"
)

// Where a response could not be kept, the end says so: of a plain answer in its own member, and not in one of what was said; of a
// stream in the last event alone.
func TestUnkeptAnswersSayThatTheyAre(t *testing.T) {
	t.Parallel()
	const object = `{"id":"resp_1","output":[{"text":"{\"store\":true}"}],"metadata":{"store":"true"},"tools":[{"parameters":{"store":true}}],"store":true,"x":1}`
	const want = `{"id":"resp_1","output":[{"text":"{\"store\":true}"}],"metadata":{"store":"true"},"tools":[{"parameters":{"store":true}}],"store":false,"x":1}`
	if got := string(AppendUnkept([]byte(object))); got != want {
		t.Errorf("plain: %s", got)
	}
	const before = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":" + object + "}\n\n"
	end := func(object string) string {
		return before + "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + object + ",\"sequence_number\":9}\n\n"
	}
	if got := string(AppendUnkept([]byte(end(object)))); got != end(want) {
		t.Errorf("stream: %s", got)
	}
	if other := "event: error\ndata: {\"type\":\"error\"}\n\n"; string(AppendUnkept([]byte(other))) != other || !strings.HasSuffix(end(want), "\n\n") {
		t.Error("an end without a response stays as it is")
	}
}
