package catalog

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// csvColumns are what a line holds, in order; the first three must be there.
var csvColumns = [...]string{"provider/model", "input", "output", "cached_input", "cache_write", "per_call",
	"cache_write_1h", "input_audio", "cached_audio", "output_audio", "output_image", "per_search"}

// feeColumn is what each call costs; those behind it are parts.
const feeColumn = 5

// csvForm is a line as it should be, for hints.
var csvForm = "write " + strings.Join(csvColumns[:], ",")

// csv reads lines. Empty ones and those that begin with # are skipped.
func (p *importer) csv(raw []byte) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	r.Comment = '#'
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	for first := true; ; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			var wrong *csv.ParseError
			if !errors.As(err, &wrong) {
				p.problem("", err.Error(), "")
				return
			}
			p.problem(fmt.Sprintf("line %d", wrong.Line), fmt.Sprintf("%v at column %d", wrong.Err, wrong.Column),
				csvForm)
			continue
		}
		line, _ := r.FieldPos(0)
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
		where := fmt.Sprintf("line %d", line)
		if first && isHeader(record) {
			p.csvHeader(where, record)
			continue
		}
		p.csvRecord(where, record)
	}
}

// isHeader reports whether a record names columns: there is no rate in it.
func isHeader(record []string) bool {
	return len(record) > 1 && strings.ContainsAny(record[1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") &&
		!strings.Contains(record[0], "/") || strings.EqualFold(record[0], csvColumns[0])
}

// csvHeader refuses columns in another order, which would make wrong prices that look right.
func (p *importer) csvHeader(where string, record []string) {
	also := map[string]string{"model": csvColumns[0], "target": csvColumns[0], "cached": "cached_input"}
	for i, column := range record {
		column = strings.ToLower(column)
		if other := also[column]; other != "" {
			column = other
		}
		if i >= len(csvColumns) || column != csvColumns[i] {
			p.problem(where, fmt.Sprintf("column %d is %q", i+1, clip(record[i])), csvForm)
		}
	}
}

func (p *importer) csvRecord(where string, record []string) {
	if len(record) < 3 || len(record) > len(csvColumns) {
		p.problem(where, fmt.Sprintf("has %d columns", len(record)), csvForm+"; those after output may be left out")
		return
	}
	target, ok := llm.ParseTarget(record[0])
	if !ok {
		p.problem(where, fmt.Sprintf("%q is not a provider and a model", clip(record[0])), "write it as openai/gpt-5-mini")
	}
	var given [len(csvColumns)]*llm.Rate
	fee, parts := llm.Money(0), PartTexts{}
	for i, text := range record[1:] {
		column := csvColumns[i+1]
		if text == "" && i >= 2 {
			continue
		}
		if i+1 > feeColumn {
			*parts.All()[i-feeColumn].Text = text
			continue
		}
		if i+1 == feeColumn {
			var err error
			if fee, err = readFee(text, "call"); err != nil {
				p.problem(where+", "+column, err.Error(), "write US dollars, for example 0.005")
				ok = false
			}
			continue
		}
		rate, err := llm.ParseRate(text)
		if err != nil || rate > MaxRate {
			p.csvRate(where+", "+column, text)
			ok = false
			continue
		}
		given[i+1] = &rate
	}
	if ok {
		price := NewPrice(*given[1], *given[2], given[3], given[4])
		price.Call = fee
		wrong := append(parts.read(&price), checkParts(&price)...)
		for _, w := range wrong {
			p.problem(where+", "+w.Path, w.Text, w.Hint)
		}
		if len(wrong) > 0 {
			return
		}
		p.add(where, target, price)
	}
}

// csvRate says what is wrong with a rate.
func (p *importer) csvRate(path, text string) {
	const example = "write US dollars per million tokens, for example 0.15"
	_, err := RatePerMillion(text)
	switch {
	case text == "":
		p.problem(path, "is empty", "write 0 if it costs nothing")
	case errors.Is(err, errTooDear):
		p.problem(path, clip(text)+" "+err.Error(), mixedUp)
	case err != nil:
		p.problem(path, fmt.Sprintf("%q %s", clip(text), err), example)
	case strings.ContainsAny(text, "eE"), len(text) > len("0.000000"):
		// A number as programs write small ones: a price per token.
		p.problem(path, clip(text)+" cannot be kept: it has more than six decimals, or an exponent", mixedUp+" "+example)
	default:
		p.problem(path, fmt.Sprintf("%q is not an amount", clip(text)), example)
	}
}

// clip keeps a text from a file short enough for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
