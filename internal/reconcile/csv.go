package reconcile

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// PlainColumns are the columns of the plain format. The first three must be there, the others may be left out; what a row does not
// say is left empty.
func PlainColumns() []string {
	return []string{"day", "provider", "model", "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "cost_usd"}
}

// A line is a row of a CSV file, by the names of its columns.
type line struct {
	columns map[string]int
	cells   []string
}

// get is a cell, "" if there is no such column.
func (l *line) get(column string) string {
	if i, ok := l.columns[column]; ok && i < len(l.cells) {
		return strings.TrimSpace(l.cells[i])
	}
	return ""
}

func (l *line) has(column string) bool { _, ok := l.columns[column]; return ok }

// count reads tokens.
func (l *line) count(column string) (int64, error) {
	n, ok := count(l.get(column))
	if !ok {
		return 0, mistakef("%s is %q, which is no number of tokens", column, l.get(column))
	}
	return n, nil
}

// counts reads tokens of several columns.
func (l *line) counts(columns ...string) ([]int64, error) {
	all := make([]int64, len(columns))
	for i, c := range columns {
		var err error
		if all[i], err = l.count(c); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readCSV reads a file with a head, with commas or tabs between cells.
func (b *builder) readCSV(text string) (Format, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	if head, _, _ := strings.Cut(text, "\n"); strings.Contains(head, "\t") && !strings.Contains(head, ",") {
		r.Comma = '\t'
	}
	head, err := r.Read()
	if err != nil {
		return "", notCSV(err)
	}
	l := line{columns: map[string]int{}}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := l.columns[name]; twice && name != "" {
			return "", mistakef("the column %q is there twice", name)
		}
		l.columns[name] = i
	}
	names := len(head)
	found, read, err := b.reader(&l)
	if err != nil {
		return "", err
	}
	for {
		if l.cells, err = r.Read(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", notCSV(err)
		}
		number, _ := r.FieldPos(0)
		if len(l.cells) > names {
			return "", mistakef("line %d has %d cells under %d columns", number, len(l.cells), names)
		}
		if !slices.ContainsFunc(l.cells, func(s string) bool { return strings.TrimSpace(s) != "" }) {
			continue
		}
		if err := read(&l); err != nil {
			return "", mistakef("line %d: %v", number, err)
		}
	}
	if found != OpenAI {
		return found, b.coverAll()
	}
	return found, nil
}

// reader finds out what a file is from its columns.
func (b *builder) reader(l *line) (Format, func(*line) error, error) {
	all := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return !l.has(n) })
	}
	switch {
	case all("start_time", "amount_value"):
		return OpenAI, b.openAICostLine, nil
	case all("start_time", "input_tokens", "output_tokens"):
		return OpenAI, b.openAIUsageLine, nil
	case all("usage_date_utc", "cost_usd"):
		return Anthropic, b.anthropicCostLine, nil
	case all("usage_date_utc", "usage_input_tokens_no_cache", "usage_output_tokens"):
		return Anthropic, b.anthropicUsageLine, nil
	case all("day", "provider", "model"):
		for name := range l.columns {
			if !slices.Contains(PlainColumns(), name) {
				return "", nil, mistakef("there is no column %q in a plain file; its columns are %s", name, strings.Join(PlainColumns(), ", "))
			}
		}
		if !l.has("cost_usd") && !l.has("input_tokens") && !l.has("output_tokens") {
			return "", nil, mistakef("there is nothing to compare: neither tokens nor cost_usd")
		}
		return Plain, b.plainLine, nil
	}
	names := make([]string, 0, len(l.columns))
	for name := range l.columns {
		names = append(names, strconv.Quote(name[:min(len(name), maxName)]))
	}
	slices.Sort(names)
	return "", nil, mistakef("this is no export that is known here; its columns are %s", strings.Join(names[:min(len(names), 20)], ", "))
}

func notCSV(err error) error {
	if errors.Is(err, io.EOF) {
		return mistakef("the file has no line")
	}
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return mistakef("line %d: %v", p.Line, p.Err)
	}
	return fmt.Errorf("read the file: %w", err)
}

// openAIBucket is the day of a line. Days on which nothing was used have a line with times alone.
func (b *builder) openAIBucket(l *line) (date string, err error) {
	from, err := l.count("start_time")
	if err != nil {
		return "", mistakef("start_time is %q; it is seconds since 1970", l.get("start_time"))
	}
	to := from + day
	if l.get("end_time") != "" {
		if to, err = l.count("end_time"); err != nil {
			return "", mistakef("end_time is %q; it is seconds since 1970", l.get("end_time"))
		}
	}
	return b.cover(from, to)
}

func (b *builder) openAICostLine(l *line) error {
	date, err := b.openAIBucket(l)
	if err != nil || l.get("amount_value") == "" {
		return err
	}
	if c := l.get("amount_currency"); !dollars(c) {
		return mistakef("amount_currency is %q; only US dollars can be compared", c)
	}
	s, err := b.of(date, "", lineItem(l.get("line_item")))
	if err == nil && !s.addDollars(l.get("amount_value"), 0) {
		return mistakef("amount_value is %q, which is no number of dollars", l.get("amount_value"))
	}
	return err
}

func (b *builder) openAIUsageLine(l *line) error {
	date, err := b.openAIBucket(l)
	if err != nil || l.get("input_tokens") == "" && l.get("output_tokens") == "" {
		return err
	}
	n, err := l.counts("input_tokens", "input_cached_tokens", "input_cache_write_tokens", "output_tokens", "num_model_requests")
	if err != nil {
		return err
	}
	return b.tokens(date, l.get("model"), llm.Usage{Input: n[0], CachedInput: n[1], CacheWrite: n[2], Output: n[3]}, n[4])
}

// readDate reads a day.
func (l *line) readDate(column string) (string, error) {
	date := l.get(column)
	if t, err := time.Parse(time.DateOnly, date); err != nil || t.Year() < 1970 {
		return "", mistakef("%s is %q; it is a day, such as 2026-11-28", column, date)
	}
	return date, nil
}

// anthropicCostLine reads a cost as the Console shows it, in dollars. Models are named for people there: "Claude Haiku 4.5".
func (b *builder) anthropicCostLine(l *line) error {
	date, err := l.readDate("usage_date_utc")
	if err != nil {
		return err
	}
	name := l.get("model")
	if name == "" && l.get("cost_type") != "token" {
		name = l.get("cost_type")
	}
	s, err := b.of(date, "", name)
	if err == nil && !s.addDollars(l.get("cost_usd"), 0) {
		return mistakef("cost_usd is %q, which is no number of dollars", l.get("cost_usd"))
	}
	return err
}

func (b *builder) anthropicUsageLine(l *line) error {
	date, err := l.readDate("usage_date_utc")
	if err != nil {
		return err
	}
	n, err := l.counts("usage_input_tokens_no_cache", "usage_input_tokens_cache_read", "usage_input_tokens_cache_write",
		"usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h", "usage_output_tokens", "web_search_count")
	if err != nil {
		return err
	}
	u := llm.Usage{CachedInput: n[1], CacheWrite: llm.Sum(n[2], n[3], n[4]), Output: n[5]}
	u.CacheWriteMinutes, u.CacheWriteHour, u.Searches = n[3], n[4], n[6]
	u.Input = llm.Sum(n[0], u.CachedInput, u.CacheWrite)
	model := l.get("model_version")
	if model == "" {
		model = l.get("model")
	}
	return b.tokens(date, model, u, 0)
}

func (b *builder) plainLine(l *line) error {
	date, err := l.readDate("day")
	if err != nil {
		return err
	}
	provider := l.get("provider")
	if provider == "" {
		return mistakef("provider is empty")
	}
	n, err := l.counts("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens")
	if err != nil {
		return err
	}
	s, err := b.of(date, provider, l.get("model"))
	if err != nil {
		return err
	}
	tokens, cost := l.get("input_tokens") != "" || l.get("output_tokens") != "", l.get("cost_usd")
	if s.lines++; s.lines > 1 && (s.tokens != tokens || s.billed != (cost != "")) {
		return mistakef("it says of %s on %s what another line does not: all or none must have tokens, and cost_usd", l.get("model"), date)
	}
	if tokens {
		s.usage = s.usage.Add(llm.Usage{Input: n[0], Output: n[1], CachedInput: n[2], CacheWrite: n[3]})
		s.tokens = true
	}
	if cost != "" && !s.addDollars(cost, 0) {
		return mistakef("cost_usd is %q, which is no number of dollars", cost)
	}
	return nil
}
