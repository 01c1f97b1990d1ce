package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// answer makes a plain answer of one choice.
func answer(choice, more string) string {
	return `{"id":"c","object":"chat.completion","model":"gpt","choices":[{"index":0,` + choice + `}]` + more + `}`
}

const twoTokens = `,"usage":{"prompt_tokens":1,"completion_tokens":2}`

func TestScanAnswer(t *testing.T) {
	t.Parallel()
	const stop = `,"finish_reason":"stop"`
	const message = `"message":{"role":"assistant",`
	tests := map[string]struct {
		body string
		want string
		err  error
	}{
		"usual":                      {usualAnswer, "content finish usage end 19/20 cached 0 written 0 reasoning 0", nil},
		"no usage":                   {answer(message+`"content":"a"}`+stop, ""), "content finish end", nil},
		"tool calls":                 {answer(message+`"content":null,"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"`, ""), "content finish end", nil},
		"function_call":              {answer(message+`"content":null,"function_call":{"name":"f","arguments":""}},"finish_reason":"function_call"`, ""), "content finish end", nil},
		"refusal":                    {answer(message+`"content":null,"refusal":"no"}`+stop, ""), "content finish end", nil},
		"audio":                      {answer(message+`"content":null,"audio":{"id":"a"}}`+stop, ""), "content finish end", nil},
		"reasoning only":             {answer(message+`"content":"","reasoning_content":"hm"},"finish_reason":"length"`, ""), "content finish end", nil},
		"finish before the message":  {answer(`"finish_reason":"stop",`+message+`"content":"a"}`, ""), "content finish end", nil},
		"empty text, but paid for":   {answer(message+`"content":""}`+stop, twoTokens), "finish usage end 1/2 cached 0 written 0 reasoning 0", nil},
		"empty text, cut at the cap": {answer(message+`"content":""},"finish_reason":"length"`, ""), "finish end", nil},

		"no body":                     {"", "", ErrEmpty},
		"blank body":                  {" \r\n", "", ErrEmpty},
		"no choices":                  {`{"id":"c"}`, "", ErrEmpty},
		"choices empty":               {`{"choices":[]}`, "", ErrEmpty},
		"choices null":                {`{"choices":null}`, "", ErrEmpty},
		"content null":                {answer(message+`"content":null}`+stop, ""), "", ErrEmpty},
		"content missing":             {answer(message+`"x":1}`+stop, twoTokens), "", ErrEmpty},
		"no content, reasoning empty": {answer(message+`"content":null,"reasoning":""}`+stop, twoTokens), "", ErrEmpty},
		"content of no parts":         {answer(message+`"content":[]}`+stop, twoTokens), "", ErrEmpty},
		"empty text, stop":            {answer(message+`"content":""}`+stop, ""), "", ErrEmpty},
		"empty text, no tokens":       {answer(message+`"content":""}`+stop, `,"usage":{"prompt_tokens":1,"completion_tokens":0}`), "", ErrEmpty},
		"second choice empty":         {`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"},{"message":{"content":null},"finish_reason":"stop"}]}`, "", ErrEmpty},
		"finish null":                 {answer(message+`"content":"a"},"finish_reason":null`, ""), "", ErrGarbage},
		"finish missing":              {answer(message+`"content":"a"}`, ""), "", ErrGarbage},
		"finish empty":                {answer(message+`"content":"a"},"finish_reason":""`, ""), "", ErrGarbage},
		"finish a number":             {answer(message+`"content":"a"},"finish_reason":1`, ""), "", ErrGarbage},
		"message missing":             {answer(`"text":"a"`+stop, ""), "", ErrGarbage},
		"message null":                {answer(`"message":null`+stop, ""), "", ErrGarbage},
		"HTML":                        {"<html><body>502</body></html>", "", ErrGarbage},
		"text":                        {"upstream connect error", "", ErrGarbage},
		"array":                       {"[" + usualAnswer + "]", "", ErrGarbage},
		"stream":                      {"data: " + usualChunk + "\n\n", "", ErrGarbage},
		"cut":                         {usualAnswer[:100], "", ErrGarbage},
		"not UTF-8":                   {strings.Replace(usualAnswer, "Hello", "\xff", 1), "", ErrGarbage},
		"two":                         {usualAnswer + usualAnswer, "", ErrGarbage},
		"choices object":              {`{"choices":{}}`, "", ErrGarbage},
		"the first fault is told":     {`{"choices":[{"message":{"content":"a"}},{"message":{"content":null},"finish_reason":"stop"}]}`, "", ErrGarbage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ev llm.Event
			err := ScanAnswer(llm.OpChat, []byte(tt.body), &ev, nil)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if got := told(&ev); err == nil && got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	var ev llm.Event
	err := ScanAnswer(llm.OpChat, []byte(`{"error":{"message":"quota","code":"insufficient_quota"}}`), &ev, nil)
	if inBand, ok := errors.AsType[*InBandError](err); !ok || inBand.Code != "insufficient_quota" {
		t.Errorf("an error object with status 200: %v", err)
	}
}

func TestScanAnswerEmbeddings(t *testing.T) {
	t.Parallel()
	const usage = `,"usage":{"prompt_tokens":8,"total_tokens":8}`
	for body, want := range map[string]error{
		`{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.1,2]}]` + usage + `}`: nil,
		`{"data":[{"embedding":"AACAPw=="}]}`:    nil,
		`{"data":[]}`:                            ErrEmpty,
		`{"choices":[]}`:                         ErrEmpty,
		`{"data":[{"index":0}]}`:                 ErrGarbage,
		`{"data":[{"embedding":[0.1]},{"a":1}]}`: ErrGarbage,
		`{"data":[{"embedding":[]}]}`:            ErrGarbage,
		`{"data":[{"embedding":""}]}`:            ErrGarbage,
		`{"data":[{"embedding":null}]}`:          ErrGarbage,
		`{"data":["a"]}`:                         ErrGarbage,
		`{"data":[{"embedding":[0.1,NaN]}]}`:     ErrGarbage,
		`{"data":{"embedding":[0.1]}}`:           ErrGarbage,
		`<html>`:                                 ErrGarbage,
		``:                                       ErrEmpty,
		`{"data":null}`:                          ErrEmpty,
		`{"object":"list","data":[{"embedding":7` + usage + `}]}`: ErrGarbage,
	} {
		var ev llm.Event
		if err := ScanAnswer(llm.OpEmbeddings, []byte(body), &ev, nil); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
		if strings.Contains(body, `"model"`) {
			if got := told(&ev); got != "content usage end 8/0 cached 0 written 0 reasoning 0" || ev.Usage.Estimated {
				t.Errorf("%s: %s", body, got)
			}
			if got := string(AppendAnswer(nil, &ev, "vectors")); got != strings.Replace(body, `"e"`, `"vectors"`, 1) {
				t.Errorf("renamed: %s", got)
			}
		}
	}
}

func TestAnswerText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		usualAnswer: "Hello there, how may I assist you today? I can answer questions, or write something for you.",
		answer(`"message":{"reasoning":"hm ","content":"a","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`, ""): "hm af{}",
		"<html>": "",
		`{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}`: "ab",
	} {
		if got := string(AnswerText([]byte(">"), []byte(body))); got != ">"+want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestParseError(t *testing.T) {
	t.Parallel()
	type parsed struct{ message, kind, code, param, raw string }
	tests := map[string]struct {
		body string
		want parsed
	}{
		"OpenAI": {
			`{"error":{"message":"bad","type":"invalid_request_error","param":"messages","code":"too_long"}}`,
			parsed{"bad", "invalid_request_error", "too_long", "messages", `{"message":"bad","type":"invalid_request_error","param":"messages","code":"too_long"}`},
		},
		"more in it": {`{"error":{"message":"bad","innererror":{"a":1}},"x":1}`, parsed{"bad", "", "", "", `{"message":"bad","innererror":{"a":1}}`}},
		"text":       {`{"error":"model not found"}`, parsed{"model not found", "", "", "", `{"message":"model not found","type":null,"param":null,"code":null}`}},
		"vLLM": {
			`{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`,
			parsed{"too long", "BadRequestError", "400", "", `{"message":"too long","type":"BadRequestError","param":null,"code":"400"}`},
		},
		"FastAPI text": {`{"detail":"Not Found"}`, parsed{"Not Found", "", "", "", `{"message":"Not Found","type":null,"param":null,"code":null}`}},
		"FastAPI list": {
			`{"detail":[{"loc":["body","messages",0,"role"],"msg":"field required","type":"missing"},{"loc":["body"],"msg":"x"}]}`,
			parsed{"body.messages.0.role: field required; body: x", "", "", "", `{"message":"body.messages.0.role: field required; body: x","type":null,"param":null,"code":null}`},
		},
		"Gemini": {
			` [{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}] `,
			parsed{"quota", "RESOURCE_EXHAUSTED", "429", "", `{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}`},
		},
		"message alone": {`{"message":"Forbidden"}`, parsed{"Forbidden", "", "", "", `{"message":"Forbidden","type":null,"param":null,"code":null}`}},
		"null error":    {`{"error":null,"message":"x"}`, parsed{"x", "", "", "", `{"message":"x","type":null,"param":null,"code":null}`}},
	}
	for name, tt := range tests {
		e, ok := ParseError([]byte(tt.body))
		if got := (parsed{e.Message, e.Type, e.Code, e.Param, string(e.Raw)}); !ok || got != tt.want {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, ok, got, tt.want)
		}
	}
	for _, body := range []string{"", "<html>", "[]", "[[]]", "{}", `"x"`, "17", `{"a":1}`, `{"error":null}`, `{"detail":[]}`, "{\"error\":\"\xff\"}", `{"error":{"message":"a"}`} {
		if e, ok := ParseError([]byte(body)); ok {
			t.Errorf("%q: %+v", body, e)
		}
	}
}

func TestAppendError(t *testing.T) {
	t.Parallel()
	own := fault.New(fault.InvalidRequest, "n: expected %s.", `"1"`)
	own.Param, own.Hint = "n", "Send 1."
	tests := map[string]struct {
		e    *fault.Error
		want string
	}{
		"own":          {own, `{"error":{"message":"n: expected \"1\". Send 1.","type":"invalid_request_error","param":"n","code":"invalid_request_error"}}`},
		"without":      {fault.New(fault.ProviderFailed, "Cut."), `{"error":{"message":"Cut.","type":"server_error","param":null,"code":"provider_failed"}}`},
		"provider's":   {&fault.Error{Message: "x", Body: []byte(`{"message":"theirs","type":"t","param":null,"code":7,"more":[1]}`)}, `{"error":{"message":"theirs","type":"t","param":null,"code":7,"more":[1]}}`},
		"lacks some":   {&fault.Error{Body: []byte("{ \"message\":\n\"theirs\" }")}, `{"error":{"message":"theirs","type":null,"param":null,"code":null}}`},
		"empty":        {&fault.Error{Body: []byte(`{}`)}, `{"error":{"message":null,"type":null,"param":null,"code":null}}`},
		"no object":    {&fault.Error{Kind: fault.Upstream, Code: fault.StreamCut, Message: "m", Hint: "h", Body: []byte(`"x"`)}, `{"error":{"message":"m h","type":"server_error","param":null,"code":"stream_interrupted"}}`},
		"broken":       {&fault.Error{Kind: fault.Upstream, Code: fault.StreamCut, Message: "m", Hint: "h", Body: []byte(`{"a"`)}, `{"error":{"message":"m h","type":"server_error","param":null,"code":"stream_interrupted"}}`},
		"not in UTF-8": {&fault.Error{Kind: fault.Upstream, Code: fault.StreamCut, Message: "a\xff", Hint: "h"}, `{"error":{"message":"a` + "\uFFFD" + ` h","type":"server_error","param":null,"code":"stream_interrupted"}}`},
	}
	for name, tt := range tests {
		got := string(AppendError([]byte(">"), tt.e))
		if got != ">"+tt.want || !json.Valid([]byte(got[1:])) {
			t.Errorf("%s:\n got %s\nwant >%s", name, got, tt.want)
		}
		if got := string(AppendErrorEvent(nil, tt.e)); got != "data: "+tt.want+"\n\n" {
			t.Errorf("%s as an event: %q", name, got)
		}
	}
}

func TestErrorType(t *testing.T) {
	t.Parallel()
	for code, want := range map[fault.Code]string{
		fault.InternalError: "server_error", fault.InvalidJSON: "invalid_request_error", fault.InvalidAPIKey: "authentication_error",
		fault.NotAllowed: "permission_error", fault.ModelNotFound: "invalid_request_error", fault.BodyTooLarge: "invalid_request_error",
		fault.ProviderLimited: "rate_limit_error", fault.StoreDown: "server_error", fault.ProviderFailed: "server_error",
		fault.TimerExpired: "timeout_error",
	} {
		if got := ErrorType(fault.New(code, "x")); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

func TestAppendModelList(t *testing.T) {
	t.Parallel()
	if got := string(AppendModelList(nil, nil)); got != `{"object":"list","data":[]}` {
		t.Errorf("no models: %s", got)
	}
	got := string(AppendModelList([]byte(">"), []Model{{ID: "a/b", Created: 17, OwnedBy: "house"}, {ID: `"`}}))
	want := `>{"object":"list","data":[{"id":"a/b","object":"model","created":17,"owned_by":"house"},{"id":"\"","object":"model","created":0,"owned_by":""}]}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
