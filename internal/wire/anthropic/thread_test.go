package anthropic

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
)

// The vendor's SDKs let the provider hold the conversation of a loop over tools, unless they are told in these words that it
// cannot be; then they send all of it themselves.
func TestAThreadIsRefusedInWordsThatSDKsRecoverFrom(t *testing.T) {
	f := fault.New(fault.InvalidRequest, "thread: this cannot be asked of a Gemini model.")
	f.Param = "thread"
	const want = `"details":{"error_code":"thread_unsupported_request","unsupported":["thread"],"param":"thread"}`
	if got := string(AppendError(nil, f, "ex_1")); !strings.Contains(got, want) {
		t.Errorf("got %s", got)
	}
}
