package cli

import (
	"fmt"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"github.com/penstock/penstock/internal/figure"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// width is the terminal's, 80 if it is not known.
func (a *app) width() int {
	if f, ok := a.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// A style is a terminal's way of stressing a word.
type style string

const (
	bad  style = "31"
	good style = "32"
	dim  style = "2"
	bold style = "1"
)

// paint stresses text on a terminal that may be coloured, and nowhere else.
func (a *app) paint(tty bool, s style, text string) string {
	no, _ := a.env("NO_COLOR") // what is empty counts as not set
	kind, _ := a.env("TERM")
	if !tty || no != "" || kind == "dumb" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// printJSON prints a value as the API has it, readable.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%s\n", b)
	return err
}

// clean takes out of a text that came from elsewhere what could steer a terminal or turn the direction of what follows.
// Tabs stay.
func clean(s string) string { return figure.Clean(s) }

// counted is "1 key", "2,000 keys": for what stands among other figures.
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return figure.Count(n) + " " + many
}

// plural is "one key", "2 keys".
func plural(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
