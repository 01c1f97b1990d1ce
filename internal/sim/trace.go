package sim

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTraceRows bounds what a trace takes in memory (24 bytes a row).
const maxTraceRows = 20_000_000

// A traceColumns says where a trace has what.
type traceColumns struct {
	at, input, output int
	moment            func(string) (time.Duration, error)
}

// ReadTrace reads a trace as CSV, plain or gzip, with a header of either ms,input,output (milliseconds since the start)
// or TIMESTAMP,ContextTokens,GeneratedTokens (that of the Azure traces). Columns may stand in any order, others are
// passed over. It gives the requests in the order of their times, the first at 0. Errors name the line.
func ReadTrace(r io.Reader) ([]Arrival, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("the trace is not whole gzip: %w", err)
		}
		in = bufio.NewReader(z)
	}
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = in.Discard(len(mark)) // it was peeked, so it is there
	}
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("the trace has no header: %w", err)
	}
	columns, err := findColumns(header)
	if err != nil {
		return nil, err
	}
	return readRows(rows, columns)
}

func findColumns(header []string) (traceColumns, error) {
	find := func(name string) int {
		return slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
	}
	own := traceColumns{at: find("ms"), input: find("input"), output: find("output"), moment: milliseconds}
	azure := traceColumns{at: find("TIMESTAMP"), input: find("ContextTokens"), output: find("GeneratedTokens"), moment: timestamp}
	for _, c := range []traceColumns{own, azure} {
		if c.at >= 0 && c.input >= 0 && c.output >= 0 {
			return c, nil
		}
	}
	return traceColumns{}, fmt.Errorf("line 1: the header is %q (it must have ms,input,output or TIMESTAMP,ContextTokens,GeneratedTokens)", strings.Join(header, ","))
}

func readRows(rows *csv.Reader, c traceColumns) ([]Arrival, error) {
	var all []Arrival
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the trace: %w", err)
		}
		line, _ := rows.FieldPos(0)
		if len(all) == maxTraceRows {
			return nil, fmt.Errorf("line %d: the trace has more than %d rows", line, maxTraceRows)
		}
		var a Arrival
		if a.At, err = c.moment(row[c.at]); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for _, n := range []struct {
			to   *int
			text string
		}{{&a.Input, row[c.input]}, {&a.Output, row[c.output]}} {
			if *n.to, err = traceTokens(n.text); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, errors.New("the trace has no rows")
	}
	slices.SortStableFunc(all, func(a, b Arrival) int { return cmp.Compare(a.At, b.At) })
	start := all[0].At
	for i := range all {
		all[i].At -= start
	}
	return all, nil
}

// milliseconds since the start, with or without a fraction.
func milliseconds(s string) (time.Duration, error) {
	ms, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(ms >= 0 && ms < 1e12) {
		return 0, fmt.Errorf("%q is not a number of milliseconds", s)
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}

// timestamp is a date and time with any fraction, with or without a zone.
func timestamp(s string) (time.Duration, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", time.RFC3339} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.Sub(time.Unix(0, 0)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time such as 2023-11-16 18:15:46.680590", s)
}

// traceTokens reads a length; 0, which the traces have here and there, counts as 1.
func traceTokens(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 || n > 100*maxTokens {
		return 0, fmt.Errorf("%q is not a number of tokens", s)
	}
	return max(n, 1), nil
}
