package cli

import (
	"io"
	"slices"
	"strings"
	"unicode"
)

// A table is rows under a head. Columns named in right are aligned to the right, since they hold numbers. Those named in
// text give way on a narrow terminal; ids, money and all others are never cut.
type table struct {
	head  []string
	right []string
	text  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table at its full width, for files and other programs.
func (t *table) print(w io.Writer) error {
	_, err := io.WriteString(w, t.lay(0))
	return err
}

// printTable writes a table for whoever reads it: on a terminal it fits its width.
func (a *app) printTable(t *table) error {
	width := 0
	if a.tty {
		width = a.width()
	}
	_, err := io.WriteString(a.out, t.lay(width))
	return err
}

const (
	narrow    = 60 // columns of a terminal below which rows are written one value to a line
	shortest  = 8  // columns that a text keeps
	separator = "  "
)

// lay lays the table out for so many columns; 0 is as many as it takes.
func (t *table) lay(width int) string {
	if width > 0 && width < narrow {
		return t.list()
	}
	rows := make([][]string, 0, len(t.rows)+1)
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		cells := make([]string, len(t.head))
		for i := range cells {
			if i < len(row) {
				cells[i] = cell(row[i])
			}
			widths[i] = max(widths[i], columns(cells[i]))
		}
		rows = append(rows, cells)
	}
	t.shrink(widths, width)
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			if i > 0 {
				line.WriteString(separator)
			}
			c = cut(c, widths[i])
			pad := strings.Repeat(" ", widths[i]-columns(c))
			if slices.Contains(t.right, t.head[i]) {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// shrink takes from the widest text until the table fits, as far as texts go.
func (t *table) shrink(widths []int, width int) {
	total := len(separator) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; width > 0 && total > width; total-- {
		widest := -1
		for i, w := range widths {
			if slices.Contains(t.text, t.head[i]) && w > max(shortest, columns(t.head[i])) && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// list writes each row as lines of "name: value"; what is empty is left out.
func (t *table) list() string {
	var b strings.Builder
	for i, row := range t.rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, value := range row {
			if j < len(t.head) && t.head[j] != "" && value != "" {
				b.WriteString(strings.ToLower(strings.TrimSpace(t.head[j])) + ": " + strings.TrimSpace(cell(value)) + "\n")
			}
		}
	}
	return b.String()
}

// cell is a text that stays in its place in a line.
func cell(s string) string { return strings.ReplaceAll(clean(s), "\t", " ") }

// columns is how many columns of a terminal a text takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), r >= 0xff01 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff:
		return 2
	}
	return 1
}

// cut shortens a text to so many columns, with a sign that it was.
func cut(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeColumns(r); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}
