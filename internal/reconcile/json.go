package reconcile

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// A jsonPage is an answer of either provider's reports. They differ in the names of times, and in what results hold:
// OpenAI's are those of GET /v1/organization/usage/completions (and embeddings, moderations) and /v1/organization/costs, with
// start_time in seconds; Anthropic's those of GET /v1/organizations/usage_report/messages and /v1/organizations/cost_report, with
// starting_at in RFC 3339.
type jsonPage struct {
	Data []jsonBucket `json:"data"`
	More bool         `json:"has_more"`
}

type jsonBucket struct {
	Start   *int64       `json:"start_time"`
	End     *int64       `json:"end_time"`
	Starts  string       `json:"starting_at"`
	Ends    string       `json:"ending_at"`
	Results []jsonResult `json:"results"`
	Result  []jsonResult `json:"result"` // what OpenAI's description of its API calls it
}

// A jsonResult is what a report has for a bucket and whatever it is grouped by. Counts of what is not there are nil.
type jsonResult struct {
	Object   string  `json:"object"`
	Model    *string `json:"model"`
	Requests *int64  `json:"num_model_requests"`
	Output   *int64  `json:"output_tokens"`

	// OpenAI: Input holds those that were cached and written to the cache.
	Input      *int64         `json:"input_tokens"`
	Cached     *int64         `json:"input_cached_tokens"`
	CacheWrite *int64         `json:"input_cache_write_tokens"`
	LineItem   *string        `json:"line_item"`
	Amount     jsontext.Value `json:"amount"` // {"value": 0.06, "currency": "usd"}; Anthropic: "123.45", in cents

	Uncached  *int64       `json:"uncached_input_tokens"` // Anthropic
	CacheRead *int64       `json:"cache_read_input_tokens"`
	Creation  *jsonWritten `json:"cache_creation"`
	Tools     *jsonTools   `json:"server_tool_use"`
	CostType  *string      `json:"cost_type"`
	About     *string      `json:"description"`
	Currency  string       `json:"currency"`
}

type jsonWritten struct {
	Hour    int64 `json:"ephemeral_1h_input_tokens"`
	Minutes int64 `json:"ephemeral_5m_input_tokens"`
}

type jsonTools struct {
	Searches int64 `json:"web_search_requests"`
}

// readJSON reads pages one after the other, or in a list.
func (b *builder) readJSON(text string) (found Format, err error) {
	d := jsontext.NewDecoder(strings.NewReader(text))
	if strings.HasPrefix(text, "[") {
		if _, err := d.ReadToken(); err != nil {
			return "", notJSON(err)
		}
	}
	for {
		switch d.PeekKind() {
		case '{':
		case ']':
			if _, err := d.ReadToken(); err != nil {
				return "", notJSON(err)
			}
			continue
		default:
			if _, err := d.ReadToken(); err != nil && !errors.Is(err, io.EOF) {
				return "", notJSON(err)
			} else if err == nil {
				return "", mistakef("the JSON is no page of a report: something before byte %d is no object", d.InputOffset())
			}
			if found == "" {
				return "", mistakef("there is no page of a report in the file")
			}
			return found, nil
		}
		var page jsonPage
		at := d.InputOffset()
		if err := json.UnmarshalDecode(d, &page); err != nil {
			return "", notJSON(err)
		}
		if page.Data == nil {
			return "", mistakef("the object behind byte %d is no page of a report: it has no data", at)
		}
		b.more = page.More
		for i := range page.Data {
			is, err := b.bucket(&page.Data[i])
			if err != nil {
				return "", mistakef("data[%d]: %v", i, err)
			}
			if found != "" && found != is {
				return "", mistakef("data[%d]: the file has reports of %s and of %s; reconcile one after the other", i, found, is)
			}
			found = is
		}
	}
}

func notJSON(err error) error {
	if s, ok := errors.AsType[*json.SemanticError](err); ok {
		return mistakef("%s is not as in a report (byte %d)", s.JSONPointer, s.ByteOffset)
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return mistakef("the JSON is broken at byte %d: %v", s.ByteOffset, s.Err)
	}
	return mistakef("the JSON is broken: %v", err)
}

// bucket reads one, and says whose it is.
func (b *builder) bucket(k *jsonBucket) (is Format, err error) {
	var from, to int64
	switch {
	case k.Start != nil && k.Starts == "":
		is, from = OpenAI, *k.Start
		to = from + day
		if k.End != nil {
			to = *k.End
		}
	case k.Start == nil && k.Starts != "":
		is = Anthropic
		starts, err := time.Parse(time.RFC3339, k.Starts)
		if err != nil {
			return "", mistakef("starting_at is no time")
		}
		from, to = starts.Unix(), starts.Unix()+day
		if k.Ends != "" {
			ends, err := time.Parse(time.RFC3339, k.Ends)
			if err != nil {
				return "", mistakef("ending_at is no time")
			}
			to = ends.Unix()
		}
	default:
		return "", mistakef("it is no bucket of a report: it has neither start_time nor starting_at")
	}
	date, err := b.cover(from, to)
	if err != nil {
		return "", err
	}
	for i := range k.Results {
		if err := b.result(is, date, from, &k.Results[i], i == 0); err != nil {
			return "", mistakef("results[%d]: %v", i, err)
		}
	}
	for i := range k.Result {
		if err := b.result(is, date, from, &k.Result[i], i == 0 && len(k.Results) == 0); err != nil {
			return "", mistakef("result[%d]: %v", i, err)
		}
	}
	return is, nil
}

func (b *builder) result(is Format, date string, from int64, r *jsonResult, first bool) error {
	kind := r.Object
	if is == Anthropic {
		kind = "usage"
		if len(r.Amount) > 0 {
			kind = "cost"
		}
	}
	if key := kind + strconv.FormatInt(from, 10); first {
		if b.buckets[key] {
			return mistakef("the bucket from %s is there twice", clock(from))
		}
		b.buckets[key] = true
	}
	switch {
	case kind == "cost":
		return b.anthropicCost(date, r)
	case is == Anthropic:
		return b.anthropicUsage(date, r)
	case kind == "organization.costs.result":
		return b.openAICost(date, r)
	case r.Input != nil:
		return b.openAIUsage(date, r)
	}
	return mistakef("%q is not counted in tokens; reconcile the costs instead", r.Object)
}

func (b *builder) openAIUsage(date string, r *jsonResult) error {
	u := llm.Usage{Input: known(r.Input), CachedInput: known(r.Cached), CacheWrite: known(r.CacheWrite), Output: known(r.Output)}
	return b.tokens(date, known(r.Model), u, known(r.Requests))
}

func (b *builder) anthropicUsage(date string, r *jsonResult) error {
	if r.Uncached == nil {
		return mistakef("it has no uncached_input_tokens")
	}
	u := llm.Usage{CachedInput: known(r.CacheRead), Output: known(r.Output)}
	if r.Creation != nil {
		u.CacheWrite = llm.Sum(r.Creation.Hour, r.Creation.Minutes)
		u.CacheWriteHour, u.CacheWriteMinutes = r.Creation.Hour, r.Creation.Minutes
	}
	if r.Tools != nil {
		u.Searches = r.Tools.Searches
	}
	u.Input = llm.Sum(known(r.Uncached), u.CachedInput, u.CacheWrite)
	return b.tokens(date, known(r.Model), u, 0)
}

// tokens adds a use of a model.
func (b *builder) tokens(date, model string, u llm.Usage, requests int64) error {
	if min(u.Input, u.CachedInput, u.CacheWrite, u.Output, u.CacheWriteHour, u.CacheWriteMinutes, u.Searches, requests) < 0 {
		return mistakef("a number of tokens or searches is below 0")
	}
	s, err := b.of(date, "", model)
	if err != nil {
		return err
	}
	s.usage, s.tokens = s.usage.Add(u), true
	s.requests = llm.Sum(s.requests, requests)
	return nil
}

func (b *builder) openAICost(date string, r *jsonResult) error {
	var amount struct {
		Value    jsontext.Value `json:"value"`
		Currency string         `json:"currency"`
	}
	if err := json.Unmarshal(r.Amount, &amount); err != nil {
		return mistakef("amount is not as in a report of costs")
	}
	if !dollars(amount.Currency) {
		return mistakef("amount is in %q; only US dollars can be compared", amount.Currency)
	}
	s, err := b.of(date, "", lineItem(known(r.LineItem)))
	if err != nil {
		return err
	}
	if text, ok := numeral(amount.Value); !ok || !s.addDollars(text, 0) {
		return mistakef("amount.value is no number of dollars")
	}
	return nil
}

// anthropicCost reads a cost. Amounts are in the lowest unit of the currency: "123.45" is 1.2345 dollars.
func (b *builder) anthropicCost(date string, r *jsonResult) error {
	if !dollars(r.Currency) {
		return mistakef("currency is %q; only US dollars can be compared", r.Currency)
	}
	name := known(r.Model)
	if name == "" && known(r.CostType) != "tokens" {
		name = known(r.CostType)
		if name == "" {
			name = known(r.About)
		}
	}
	s, err := b.of(date, "", name)
	if err != nil {
		return err
	}
	if text, ok := numeral(r.Amount); !ok || !s.addDollars(text, -2) {
		return mistakef("amount is no number of cents")
	}
	return nil
}

// numeral is a number, or a text that holds one.
func numeral(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '0':
		return string(v), true
	case '"':
		text, err := jsontext.AppendUnquote(nil, v)
		return string(text), err == nil
	}
	return "", false
}

func dollars(currency string) bool { return strings.EqualFold(currency, "usd") || currency == "" }

func known[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// lineItem is the model in a line of OpenAI's costs, such as "gpt-5-mini-2025-08-07, cached input" or
// "priority | gpt-image-1 text, input, long context"; what is no model, such as "web search tool calls", is left as it is.
func lineItem(line string) string {
	item := line
	for _, tier := range [...]string{"priority", "batch", "flex", "scale"} {
		if rest, ok := strings.CutPrefix(strings.ToLower(item), tier+" | "); ok {
			item = item[len(item)-len(rest):]
			break
		}
	}
	model, _, named := strings.Cut(item, ", ")
	for _, mode := range [...]string{" text", " image", " audio"} {
		model = strings.TrimSuffix(model, mode)
	}
	if !named || model == "" || strings.ContainsAny(model, " |") {
		return line
	}
	return model
}
