package console

import (
	"slices"
	"strconv"
	"strings"
)

// A plot is bars over time, drawn by the server as an SVG of which every length is a share of the whole, so that it fits
// any width without a script. What it shows is a table as well, for whoever cannot see it.
type plot struct {
	Caption string // what is drawn, in words
	Most    string // what the highest line stands for
	From    string
	To      string
	Series  []plotSeries
	Bars    []bar
	Rows    []plotRow // the table; steps in which nothing was are left out
	Lines   []plotLine
	Zero    string // where zero lies, if there is something below it; else it is the lower edge
	Least   string // what the lower edge stands for then
	Partial bool   // the last step is not over
	Tall    bool
}

type plotSeries struct{ Name, Class string }

// A plotLine is a series drawn as lines in a box of 1000 by 100, highest on top: several, for where there is nothing the line
// is broken.
type plotLine struct {
	Class  string
	Points []string
}

// A bar is one step. All lengths are shares of the plot, such as "12.5%".
type bar struct {
	X, Width string
	Title    string
	Class    string // "open" where the step is not over
	Parts    []barPart
}

type barPart struct{ Y, Height, Class string }

type plotRow struct {
	Step  string
	Cells []string
}

// A stack is the amounts of one step, one for each series.
type stack struct {
	place   int // of the step, counted from the first
	amounts []int64
}

// stack makes the bars of stacks, among n steps. Steps in which nothing was are not in the table.
func (p *plot) stack(stacks []stack, n int, label func(step int) string, write func(int64) string) {
	most := 0.0
	for _, s := range stacks {
		sum := 0.0
		for _, v := range s.amounts {
			sum += float64(v)
		}
		most = max(most, sum)
	}
	if p.Most = "0"; most > 0 {
		p.Most = write(int64(most))
	}
	for _, s := range stacks {
		if s.place < 0 || s.place >= n || !slices.ContainsFunc(s.amounts, func(v int64) bool { return v != 0 }) {
			continue
		}
		b := bar{X: share(float64(s.place)+.09, float64(n)), Width: share(.82, float64(n))}
		if p.Partial && s.place == n-1 {
			b.Class = "open"
		}
		below := 0.0
		row := plotRow{Step: label(s.place)}
		said := []string{}
		for j, v := range s.amounts {
			row.Cells = append(row.Cells, write(v))
			if v <= 0 {
				continue
			}
			said = append(said, p.Series[j].Name+" "+write(v))
			below += float64(v)
			b.Parts = append(b.Parts, barPart{Y: share(most-below, most), Height: share(float64(v), most), Class: p.Series[j].Class})
		}
		b.Title = row.Step + ": " + strings.Join(said, ", ")
		p.Bars = append(p.Bars, b)
		p.Rows = append(p.Rows, row)
	}
}

// signed makes bars of amounts that may be below zero: those lie under the line of zero, and all others above it.
func (p *plot) signed(stacks []stack, n int, label func(step int) string, write func(int64) string) {
	var most, least float64
	for _, s := range stacks {
		up, down := upAndDown(s.amounts)
		most, least = max(most, up), max(least, down)
	}
	whole := most + least
	if whole == 0 {
		return
	}
	p.Most, p.Zero = write(int64(most)), share(most, whole)
	if least > .08*whole { // or there is no room for it
		p.Least = write(int64(-least))
	}
	for _, s := range stacks {
		if s.place < 0 || s.place >= n || !slices.ContainsFunc(s.amounts, func(v int64) bool { return v != 0 }) {
			continue
		}
		b := bar{X: share(float64(s.place)+.09, float64(n)), Width: share(.82, float64(n))}
		row, said := plotRow{Step: label(s.place)}, []string{}
		up, down := most, most
		for j, v := range s.amounts {
			row.Cells = append(row.Cells, write(v))
			if v == 0 {
				continue
			}
			said = append(said, p.Series[j].Name+" "+write(v))
			part := barPart{Class: p.Series[j].Class}
			if size := float64(v); v > 0 {
				up -= size
				part.Y, part.Height = share(up, whole), share(size, whole)
			} else {
				part.Y, part.Height = share(down, whole), share(-size, whole)
				down -= size
			}
			b.Parts = append(b.Parts, part)
		}
		b.Title = row.Step + ": " + strings.Join(said, ", ")
		p.Bars, p.Rows = append(p.Bars, b), append(p.Rows, row)
	}
}

// upAndDown adds up what is above zero, and what is below it.
func upAndDown(amounts []int64) (up, down float64) {
	for _, v := range amounts {
		if v > 0 {
			up += float64(v)
		} else {
			down -= float64(v)
		}
	}
	return up, down
}

// lines draws series of n steps each as lines; 0 is nothing. Behind them each step has an invisible bar, which says what it
// is.
func (p *plot) lines(values [][]int64, label func(step int) string, write func(int64) string) {
	most := int64(0)
	for _, v := range values {
		most = max(most, slices.Max(append(v, 0)))
	}
	if p.Most = "0"; most > 0 {
		p.Most = write(most)
	}
	n := 0
	for j, v := range values {
		n = len(v)
		p.Lines = append(p.Lines, plotLine{p.Series[j].Class, pointsOf(v, most)})
	}
	for i := range n {
		row := plotRow{Step: label(i)}
		said := []string{}
		for j := range values {
			cell := "–"
			if v := values[j][i]; v > 0 {
				cell = write(v)
				said = append(said, p.Series[j].Name+" "+cell)
			}
			row.Cells = append(row.Cells, cell)
		}
		if len(said) == 0 {
			continue
		}
		p.Rows = append(p.Rows, row)
		p.Bars = append(p.Bars, bar{
			X: share(float64(i), float64(n)), Width: share(1, float64(n)), Title: row.Step + ": " + strings.Join(said, ", "),
			Parts: []barPart{{"0%", "100%", "hit"}},
		})
	}
}

// pointsOf are the lines of values, one for each stretch without a gap. A stretch of one step is a dash.
func pointsOf(values []int64, most int64) (all []string) {
	n := float64(len(values))
	var b strings.Builder
	began := 0
	point := func(x float64, v int64) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatFloat(x/n*1000, 'f', 1, 64) + "," + strconv.FormatFloat(100-float64(v)/float64(most)*100, 'f', 1, 64))
	}
	for i, v := range values {
		if v <= 0 {
			continue
		}
		if b.Len() == 0 {
			began = i
		}
		point(float64(i)+.5, v)
		if i+1 < len(values) && values[i+1] > 0 {
			continue
		}
		if began == i {
			b.Reset()
			point(float64(i)+.2, v)
			point(float64(i)+.8, v)
		}
		all = append(all, b.String())
		b.Reset()
	}
	return all
}

// share is a part of a whole, as SVG has it.
func share(part, whole float64) string {
	if whole <= 0 {
		return "0%"
	}
	return strconv.FormatFloat(part/whole*100, 'f', 2, 64) + "%"
}

// sparkline are the points of a line in a box of 100 by 20, highest on top.
func sparkline(values []float64) string {
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	if len(values) < 2 || most == 0 {
		return ""
	}
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatFloat(float64(i)/float64(len(values)-1)*100, 'f', 1, 64))
		b.WriteByte(',')
		b.WriteString(strconv.FormatFloat(19-v/most*18, 'f', 1, 64))
	}
	return b.String()
}
