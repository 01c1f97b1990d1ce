package figure

import (
	"encoding/csv"
	"io"
	"strings"
)

// Clean takes out of a text what would change how it is shown: control characters but for the tab, and those that turn the
// direction of writing.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' && r != '\t', r >= 0x7f && r < 0xa0: // control characters
			return -1
		case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return -1
		}
		return r
	}, s)
}

// formula are the characters with which a spreadsheet begins to calculate, or skips to find one of them.
const formula = "=+-@\t\r＝＋－＠"

// CSV writes rows for other programs. A cell that a spreadsheet would run as a formula gets a quote before it. Numbers are
// for whoever calls it to write exactly.
func CSV(w io.Writer, head []string, rows [][]string) error {
	out := csv.NewWriter(w)
	if err := out.Write(head); err != nil {
		return err
	}
	for _, row := range rows {
		safe := make([]string, len(row))
		for i, c := range row {
			safe[i] = Clean(c)
			if strings.IndexAny(safe[i], formula) == 0 && !isNegative(safe[i]) {
				safe[i] = "'" + safe[i]
			}
		}
		if err := out.Write(safe); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// isNegative reports a plain decimal number below 0, which a spreadsheet reads as that.
func isNegative(s string) bool {
	digits, found := strings.CutPrefix(s, "-")
	whole, part, dotted := strings.Cut(digits, ".")
	all := func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
	}
	return found && all(whole) && (!dotted || all(part))
}
