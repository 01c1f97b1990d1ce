// Package reconcile compares the books with what providers say they will bill: it reads their exports, finds where the two drift
// apart, and settles from them what nobody knew.
//
// An export says, for each day and model, tokens, money or both. A day's entries of the ledger for a target are set beside it. What
// the provider has and the books have not is a surplus. Tries whose end is unknown explain it as far as the most that they may have
// cost allows, and can be settled at that; what is left is drift, which people are told of.
//
// It fetches no exports, since that takes keys that can see the whole account, and it keeps nothing: everything that it decides
// follows from the file and the books, so that the same file twice changes nothing the second time.
package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A Format is a kind of export.
type Format string

// The formats. Those of providers are JSON, as their APIs answer, or CSV, as their web pages export; what a file is shows from what
// is in it.
const (
	OpenAI    Format = "openai"    // usage or costs of an organisation
	Anthropic Format = "anthropic" // the usage report or the cost report of an organisation
	Plain     Format = "plain"     // our own CSV, for everything else
)

// Formats are all of them.
func Formats() []Format { return []Format{OpenAI, Anthropic, Plain} }

// An Export is what a file says, summed by day, provider and model.
type Export struct {
	Format Format
	Hash   string // SHA-256 of the file, in hexadecimal
	Rows   []Row  // by day, provider and model
	// Days are those that it speaks of, in order. Of a day that is not whole, it speaks of a part.
	Days []Day
	More bool // the provider has further pages behind the last one
}

// A Day is a day of the calendar that an export speaks of.
type Day struct {
	Date  string // as in 2026-11-28
	Whole bool   // it speaks of all of it
}

// A Row is what a provider has for a day and one of its models.
type Row struct {
	Date     string
	Provider string // as it is configured; "" in exports of providers, which do not know how they are called here
	Model    string // in the words of the export; "" is all models together
	Usage    llm.Usage
	Cost     llm.Money
	Tokens   bool // Usage is known
	Billed   bool // Cost is known
	Requests int64
}

// A mistake is something in a file that is not as it should be. Its text says where.
type mistake struct{ text string }

func (m *mistake) Error() string { return m.text }

func mistakef(format string, args ...any) error { return &mistake{fmt.Sprintf(format, args...)} }

// MaxFile bounds an export, in bytes: the file's own, however it is sent.
const MaxFile = 12 << 20

// MaxRows bounds how many sums a file may come to.
const MaxRows = 200_000

// maxDays bounds the days of a file: each is some questions to the store.
const maxDays = 400

// Read reads an export. Format "" is whatever the file looks like. Errors say what is wrong with the file, and where.
func Read(file []byte, format Format) (*Export, error) {
	hash := sha256.Sum256(file)
	text := strings.TrimPrefix(string(file), "\ufeff")
	b := &builder{sums: map[rowKey]*sum{}, covered: map[string]map[span]bool{}, buckets: map[string]bool{}}
	var found Format
	var err error
	switch trimmed := strings.TrimLeft(text, " \t\r\n"); {
	case trimmed == "":
		return nil, mistakef("the file is empty")
	case trimmed[0] == '{' || trimmed[0] == '[':
		found, err = b.readJSON(trimmed)
	default:
		found, err = b.readCSV(text)
	}
	if err != nil {
		return nil, err
	}
	if format != "" && format != found {
		return nil, mistakef("the file is of the format %s, not %s", found, format)
	}
	e := b.export()
	e.Format, e.Hash = found, hex.EncodeToString(hash[:])
	switch {
	case len(e.Days) == 0:
		return nil, mistakef("there are no days in the file")
	case len(e.Days) > maxDays:
		return nil, mistakef("the file is over more than %d days; reconcile a shorter time", maxDays)
	}
	return e, nil
}

type rowKey struct{ date, provider, model string }

// A span is a bucket's time within its day, in seconds.
type span struct{ from, to int64 }

// A sum is a Row while it is added up. Money is exact until the end: exports have thirty decimals.
type sum struct {
	usage    llm.Usage
	cost     big.Int // dollars times 10^decimals
	tokens   bool
	billed   bool
	requests int64
	lines    int // of a plain file
}

// A builder adds up what a file says.
type builder struct {
	sums    map[rowKey]*sum
	covered map[string]map[span]bool // by day
	buckets map[string]bool          // that were read, so that none counts twice
	more    bool
}

// of gives the sum of a row.
func (b *builder) of(date, provider, model string) (*sum, error) {
	model = strings.TrimSpace(model)
	if !printable(model) || !printable(provider) {
		return nil, mistakef("a model's name holds what cannot be printed, or is over %d characters", maxName)
	}
	key := rowKey{date, provider, model}
	s := b.sums[key]
	if s == nil {
		if len(b.sums) >= MaxRows {
			return nil, mistakef("the file has over %d days and models; reconcile a shorter time", MaxRows)
		}
		s = &sum{}
		b.sums[key] = s
	}
	return s, nil
}

const maxName = 200

func printable(s string) bool {
	return len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' })
}

const day = 24 * 60 * 60

// cover notes that the file speaks of a time, in seconds since 1970, and gives its day.
func (b *builder) cover(from, to int64) (date string, err error) {
	const first, last = 0, 253_402_300_800 // the years 1970 to 9999
	if from < first || to > last || to <= from {
		return "", mistakef("a bucket from %d to %d is no time", from, to)
	}
	start := from - from%day
	if to > start+day {
		return "", mistakef("a bucket from %s to %s is over more than one day (UTC); export by day", clock(from), clock(to))
	}
	date = time.Unix(start, 0).UTC().Format(time.DateOnly)
	if b.covered[date] == nil {
		b.covered[date] = map[span]bool{}
	}
	b.covered[date][span{from - start, to - start}] = true
	return date, nil
}

func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("2006-01-02T15:04Z") }

// coverAll notes that the file speaks of all days from its first to its last: those with nothing have no row.
func (b *builder) coverAll() error {
	var dates []string
	for key := range b.sums {
		dates = append(dates, key.date)
	}
	if len(dates) == 0 {
		return nil
	}
	first, err := time.Parse(time.DateOnly, slices.Min(dates))
	if err != nil {
		return err
	}
	last := slices.Max(dates)
	for n := 0; ; n++ {
		date := first.AddDate(0, 0, n).Format(time.DateOnly)
		if n >= maxDays {
			return mistakef("the file is over more than %d days; reconcile a shorter time", maxDays)
		}
		b.covered[date] = map[span]bool{{0, day}: true}
		if date == last {
			return nil
		}
	}
}

// whole reports whether spans are all of a day together.
func whole(spans map[span]bool) bool {
	reached := int64(0)
	for _, s := range slices.SortedFunc(maps.Keys(spans), func(a, b span) int { return cmp.Compare(a.from, b.from) }) {
		if s.from > reached {
			return false
		}
		reached = max(reached, s.to)
	}
	return reached >= day
}

func (b *builder) export() *Export {
	e := &Export{Rows: make([]Row, 0, len(b.sums)), More: b.more}
	for key, s := range b.sums {
		e.Rows = append(e.Rows, Row{
			Date: key.date, Provider: key.provider, Model: key.model, Usage: s.usage, Cost: nano(&s.cost), Tokens: s.tokens, Billed: s.billed, Requests: s.requests,
		})
	}
	slices.SortFunc(e.Rows, func(x, y Row) int {
		return cmp.Or(cmp.Compare(x.Date, y.Date), cmp.Compare(x.Provider, y.Provider), cmp.Compare(x.Model, y.Model))
	})
	for _, date := range slices.Sorted(maps.Keys(b.covered)) {
		e.Days = append(e.Days, Day{date, whole(b.covered[date])})
	}
	return e
}
