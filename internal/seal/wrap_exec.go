package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode"
)

// Bounds of one run of a wrapper's command.
const (
	execWithin  = 20 * time.Second
	maxExecOut  = 64 << 10 // bytes of its output
	maxExecSaid = 400      // bytes of its words that errors show
)

// An execWrapper runs a command: a name and its arguments, then wrap or unwrap. It takes base64 on its standard input and
// gives base64 on its standard output. No shell is between.
type execWrapper struct {
	args   []string
	within time.Duration
}

func (w *execWrapper) String() string { return "exec:" + strings.Join(w.args, " ") }

func (w *execWrapper) Wrap(ctx context.Context, ring string, key []byte) ([]byte, error) {
	return w.run(ctx, "wrap", ring, key)
}

func (w *execWrapper) Unwrap(ctx context.Context, ring string, wrapped []byte) ([]byte, error) {
	return w.run(ctx, "unwrap", ring, wrapped)
}

func (w *execWrapper) run(ctx context.Context, verb, ring string, in []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	c := exec.CommandContext(ctx, w.args[0], append(w.args[1:len(w.args):len(w.args)], verb)...)
	asked := base64.StdEncoding.EncodeToString(in)
	c.Stdin = strings.NewReader(asked + "\n")
	c.Env = append(os.Environ(), "PENSTOCK_RING="+ring)
	out, said := &limited{most: maxExecOut}, &limited{most: maxExecOut}
	c.Stdout, c.Stderr = out, said
	c.WaitDelay = time.Second // for children of it that keep its output open
	killAll(c)
	err := c.Run()
	given := strings.Join(strings.Fields(out.kept.String()), "")
	words := clip(said.kept.String(), asked, given)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("it did not end within %v%s", w.within, words)
	case err != nil:
		return nil, fmt.Errorf("%w%s", err, words)
	case out.over:
		return nil, fmt.Errorf("it wrote more than %d bytes", maxExecOut)
	}
	b, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("its output is not base64%s", words) // which may be the key, so it is not shown
	}
	return b, nil
}

// A limited keeps the first bytes of what is written to it, and lets the rest go.
type limited struct {
	kept bytes.Buffer // not embedded: it would be read into past the limit
	most int
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	n := len(b)
	if room := l.most - l.kept.Len(); n > room {
		b, l.over = b[:room], true
	}
	_, _ = l.kept.Write(b) // it takes everything
	return n, nil
}

// clip is what a command said, as one line for an error: not all of it, and nothing of what went in and came out of it, for
// a command that tells all that it does tells the key.
func clip(said string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) >= 8 {
			said = strings.ReplaceAll(said, s, "[hidden]")
		}
	}
	said = strings.Join(strings.FieldsFunc(said, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if said == "" {
		return ""
	}
	if len(said) > maxExecSaid {
		said = strings.ToValidUTF8(said[:maxExecSaid], "") + "..."
	}
	return ": " + said
}
