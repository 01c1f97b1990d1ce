package azure

import (
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/provider/codectest"
	"github.com/penstock/penstock/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCodec(t *testing.T) {
	t.Parallel()
	codectest.Run(t, New(), "testdata")
}

// Keys and tokens are told apart by their form: a token sent as a key would be refused, and the other way round.
func TestKeysAndTokens(t *testing.T) {
	t.Parallel()
	token := "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRw.c2lnbmF0dXJl"
	for value, want := range map[string]http.Header{
		"0123456789abcdef0123456789abcdef": {"Api-Key": {"0123456789abcdef0123456789abcdef"}},
		strings.Repeat("Ab3", 28):          {"Api-Key": {strings.Repeat("Ab3", 28)}},
		"eyJlooksLikeOne":                  {"Api-Key": {"eyJlooksLikeOne"}},
		token:                              {"Authorization": {"Bearer " + token}},
	} {
		h := http.Header{}
		New().Authorize(h, secret.New(value))
		if len(h) != 1 || h.Get("Api-Key") != want.Get("Api-Key") || h.Get("Authorization") != want.Get("Authorization") {
			t.Errorf("%s: %v", value, h)
		}
	}
}
