package console

import (
	"strconv"
	"strings"
	"time"
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
	Partial bool      // the last step is not over
}

type plotSeries struct{ Name, Class string }

// A bar is one step. All lengths are shares of the plot, such as "12.5%".
type bar struct {
	X, Width string
	Title    string
	Parts    []barPart
}

type barPart struct{ Y, Height, Class string }

type plotRow struct {
	Step  string
	Cells []string
}

// A stack is the values of one step, one for each series.
type stack struct {
	at     time.Time
	values []float64
	words  []string // the values as they are written
}

// draw makes the bars of stacks, of which each stands at its place among n steps from the first.
func (p *plot) draw(stacks []stack, place func(time.Time) int, n int, label func(time.Time) string, top func(float64) string) {
	most := 0.0
	for _, s := range stacks {
		sum := 0.0
		for _, v := range s.values {
			sum += v
		}
		most = max(most, sum)
	}
	if p.Most = "0"; most > 0 {
		p.Most = top(most)
	}
	for _, s := range stacks {
		i := place(s.at)
		if i < 0 || i >= n {
			continue
		}
		b := bar{X: share(float64(i), float64(n)), Width: share(.82, float64(n))}
		below := 0.0
		said := []string{}
		for j, v := range s.values {
			said = append(said, p.Series[j].Name+" "+s.words[j])
			if v <= 0 {
				continue
			}
			below += v
			b.Parts = append(b.Parts, barPart{Y: share(most-below, most), Height: share(v, most), Class: p.Series[j].Class})
		}
		b.Title = label(s.at) + ": " + strings.Join(said, ", ")
		p.Bars = append(p.Bars, b)
		p.Rows = append(p.Rows, plotRow{label(s.at), s.words})
	}
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
