package gemini

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/provider/codectest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCodec(t *testing.T) {
	t.Parallel()
	codectest.Run(t, New(), "testdata")
}
