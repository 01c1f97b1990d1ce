package responses

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// garbage makes an error that says what is wrong, without quoting the answer.
func garbage(what string) error { return fmt.Errorf("%w: %s", openai.ErrGarbage, what) }

// inBand makes an error of an error object that came within an answer; nil and null are one without words.
func inBand(object []byte) error {
	e, ok := openai.ParseError(append(append([]byte(`{"error":`), object...), '}'))
	if !ok {
		e.Message = "The provider reported an error and did not describe it."
	}
	return &openai.InBandError{UpstreamError: e}
}

// ScanAnswer reads a plain answer and fills in ev; its Raw is body. It sees to it that the answer is whole and usable. meta is told
// what the provider says of the answer; it may be nil. Errors are those of [openai.ScanAnswer].
func ScanAnswer(body []byte, ev *llm.Event, meta *llm.Meta) error {
	*ev = llm.Event{Dialect: llm.Responses, Raw: body}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return fmt.Errorf("%w: no body", openai.ErrEmpty)
	case !rawjson.Valid(body):
		return garbage("not JSON")
	}
	o := rawjson.ObjectOf(body)
	if !o.Has("status") || !o.Has(outputField) {
		if v := o.Value("error"); v != nil && v[0] == '{' {
			return inBand(v)
		}
		return garbage("not a response")
	}
	return ended(o, ev, meta)
}

// ended reads a response that has ended.
func ended(o *rawjson.Object, ev *llm.Event, meta *llm.Meta) error {
	tell(o, meta)
	meta.ServedBy([]byte(o.Str("service_tier")), nil) // before the end it is what was asked for
	status := o.Str("status")
	switch status {
	case "completed", "incomplete":
	case "failed", "cancelled":
		return inBand(orNull(o.Value("error")))
	default:
		return garbage("a response that has not ended")
	}
	finish, some, searches := outcome(o, status)
	if u, ok := usageOf(o.Value("usage")); ok {
		ev.Usage, ev.Usage.Searches = u, searches
		ev.Has |= llm.UsageIn
	}
	if some {
		ev.Has |= llm.Content
	} else if status == "completed" && ev.Usage.Output == 0 {
		return fmt.Errorf("%w: no output, and no tokens were generated", openai.ErrEmpty)
	}
	if meta != nil {
		meta.Finished(0, finish)
	}
	ev.Has |= llm.Finish | llm.End
	return nil
}

func orNull(v []byte) []byte {
	if v == nil {
		return []byte(nullValue)
	}
	return v
}

// outcome is why a response ended, whether anything is in it, and how often the vendor searched for it: only what searches has a price,
// not what opens a page that was found or looks in it (the vendor's guide to web search).
func outcome(o *rawjson.Object, status string) (finish llm.FinishReason, some bool, searches int64) {
	finish = llm.FinishStop
	all, _ := rawjson.ObjectsOf(o.Value(outputField))
	for _, item := range all {
		kind := item.Str(typeField)
		if kind == callItem || kind == customCallItem {
			finish = llm.FinishTools
		}
		if kind == searchItem && item.Str("status") != "failed" {
			if action := rawjson.ObjectOf(item.Value("action")).Str(typeField); action == "" || action == "search" {
				searches++
			}
		}
		some = some || kind != reasoningItem && (kind != messageItem || len(item.Value(contentField)) > len("[]"))
	}
	if status == "incomplete" {
		finish = llm.FinishLength
		if rawjson.ObjectOf(o.Value("incomplete_details")).Str("reason") == "content_filter" {
			finish = llm.FinishFilter
		}
	}
	return finish, some, searches
}

// The limits of what goes to records and logs, in bytes.
const (
	maxID   = 128
	maxName = 256
)

// tell tells what a response says of itself.
func tell(o *rawjson.Object, meta *llm.Meta) {
	if meta == nil || meta.ID != "" && meta.Model != "" {
		return
	}
	meta.ID, meta.Model = plain(o.Str(idField), maxID), plain(o.Str(modelField), maxName)
}

// plain is s if it is short and printable ASCII, else nothing.
func plain(s string, most int) string {
	if len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}

// maxCount is the largest number of tokens that is believed.
const maxCount = 1 << 40

// usageOf reads what was counted. A whole is made to hold its parts.
func usageOf(value []byte) (u llm.Usage, ok bool) {
	o := rawjson.ObjectOf(value)
	count := func(o *rawjson.Object, name string) (int64, bool) {
		n := o.Integer(name)
		if n == nil || *n < 0 || *n > maxCount {
			return 0, false
		}
		return *n, true
	}
	input, output := rawjson.ObjectOf(o.Value("input_tokens_details")), rawjson.ObjectOf(o.Value("output_tokens_details"))
	var in, out bool
	u.Input, in = count(o, "input_tokens")
	u.Output, out = count(o, "output_tokens")
	u.CachedInput, _ = count(input, "cached_tokens")
	u.CacheWrite, _ = count(input, "cache_write_tokens")
	u.Reasoning, _ = count(output, "reasoning_tokens")
	u.InputAudio, _ = count(input, "audio_tokens")
	u.OutputAudio, _ = count(output, "audio_tokens")
	u.OutputImage, _ = count(output, "image_tokens")
	if cached := input.Value("cached_tokens_details"); cached != nil {
		u.CachedAudio, _ = count(rawjson.ObjectOf(cached), "audio_tokens")
	}
	u.Input, u.Output = max(u.Input, u.CachedInput+u.CacheWrite), max(u.Output, u.Reasoning)
	u.Estimated = !in || !out
	return u, in || out
}

// AnswerText appends the text that a plain answer holds, reasoning and the arguments of calls included, as [llm.Event].Text does
// for streams: for counting tokens where the provider did not.
func AnswerText(dst, body []byte) []byte {
	if !rawjson.Valid(body) {
		return dst
	}
	items, _ := rawjson.ObjectsOf(rawjson.ObjectOf(body).Value(outputField))
	for _, item := range items {
		for _, name := range []string{nameField, argumentsField, inputField} {
			dst = append(dst, item.Str(name)...)
		}
		for _, name := range []string{"summary", contentField} {
			parts, _ := rawjson.ObjectsOf(item.Value(name))
			for _, p := range parts {
				dst = append(append(dst, p.Str(textField)...), p.Str(refusalPart)...)
			}
		}
	}
	return dst
}
