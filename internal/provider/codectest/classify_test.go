package codectest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/provider/anthropic"
	"github.com/penstock/penstock/internal/provider/azure"
	"github.com/penstock/penstock/internal/provider/bedrock"
	"github.com/penstock/penstock/internal/provider/gemini"
	"github.com/penstock/penstock/internal/provider/openai"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// Bodies as vendors send them, through the codec that reads them.
func TestClassify(t *testing.T) {
	t.Parallel()
	const (
		length, policy, quota   = provider.ClassContextLength, provider.ClassContentPolicy, provider.ClassQuota
		credential, permissions = provider.ClassCredential, provider.ClassPermission
	)
	type row struct {
		name   string
		status int
		body   string
		want   provider.Class
	}
	oai := []row{
		{"OpenAI, length", 400, `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130011 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, length},
		{"OpenAI, length of Responses", 400, `{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}`, length},
		{"OpenAI, usage policy", 400, `{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}`, policy},
		{"OpenAI, content policy", 400, `{"error":{"code":"content_policy_violation","message":"Your request was rejected as a result of our safety system.","param":null,"type":"invalid_request_error"}}`, policy},
		{"OpenAI, quota", 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, quota},
		{"OpenAI, quota without a code", 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":null}}`, quota},
		{"OpenAI, hard limit", 400, `{"error":{"code":"billing_hard_limit_reached","message":"Billing hard limit has been reached","param":null,"type":"invalid_request_error"}}`, quota},
		{"OpenAI, not active", 429, `{"error":{"message":"Your account is not active, please check your billing details on our website.","type":"billing_not_active","param":null,"code":"billing_not_active"}}`, quota},
		{"OpenAI, key", 401, `{"error":{"message":"Incorrect API key provided: sk-x. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, credential},
		{"OpenAI, country", 403, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}`, permissions},
		{"OpenAI, rate of tokens", 429, `{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 41000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, ""},
		{"OpenAI, a bad request", 400, `{"error":{"message":"Unknown parameter: 'foo'.","type":"invalid_request_error","param":"foo","code":"unknown_parameter"}}`, ""},
		{"no JSON", 400, `<html>`, ""}, {"no JSON, 401", 401, `<html>`, credential}, {"no JSON, 403", 403, `<html>`, permissions}, {"no JSON, 402", 402, `<html>`, quota},
		{"overloaded", 503, `{"error":{"message":"The server is overloaded","type":"server_error","code":null}}`, ""},
		{"vLLM", 400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 4131 tokens (31 in the messages, 4100 in the completion). Please reduce the length of the messages or completion.","type":"BadRequestError","param":null,"code":400}`, length},
		{"vLLM, newer", 400, `{"error":{"message":"'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request has 20 input tokens (5000 > 4096 - 20).","type":"BadRequestError","param":null,"code":400}}`, length},
		{"llama.cpp", 400, `{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}`, length},
		{"Ollama", 400, `{"error":{"message":"the input length exceeds the context length","type":"invalid_request_error","param":null,"code":null}}`, length},
		{"SGLang", 400, `{"object":"error","message":"The input (5000 tokens) is longer than the model's context length (4096 tokens).","type":"BadRequestError","param":null,"code":400}`, length},
		{"Mistral", 400, `{"object":"error","message":"Prompt contains 40960 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_error","param":null,"code":"3051"}`, length},
		{"xAI, length", 400, `{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}`, length},
		{"xAI, key", 400, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}`, credential},
		{"Groq", 400, `{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, length},
		{"DeepSeek", 402, `{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}`, quota},
		{"OpenRouter, credits", 402, `{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits","code":402}}`, quota},
		{"OpenRouter, moderation", 403, `{"error":{"message":"openai/gpt-4 requires moderation on OpenRouter. Your input was flagged","code":403,"metadata":{"reasons":["violence"]}}}`, policy},
		{"Moonshot, quota", 429, `{"error":{"message":"Your account is suspended, please check your plan and billing details","type":"exceeded_current_quota_error"}}`, quota},
		{"Moonshot, filter", 400, `{"error":{"message":"The request was rejected because it was considered high risk","type":"content_filter"}}`, policy},
		{"Alibaba, filter", 400, `{"error":{"code":"data_inspection_failed","param":null,"message":"Input data may contain inappropriate content.","type":"data_inspection_failed"}}`, policy},
		{"Alibaba, arrears", 400, `{"error":{"code":"Arrearage","param":null,"message":"Access denied, please make sure your account is in good standing.","type":"Arrearage"}}`, quota},
		{"Gemini's compatible endpoint, a minute's limit", 429, `[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]`, ""},
	}
	for codec, rows := range map[provider.Codec][]row{
		openai.New(): oai,
		azure.New(): {
			{"Azure, filter", 400, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"jailbreak":{"filtered":true,"detected":true}}}}}`, policy},
			{"Azure, filter without a code", 400, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":null}}`, policy},
			{"Azure, length", 400, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, length},
			{"Azure, key", 401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`, credential},
			{"Azure, rate", 429, `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds."}}`, ""},
		},
		anthropic.New(): {
			{"Anthropic, length", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`, length},
			{"Anthropic, length with max_tokens", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"input length and ` + "`max_tokens`" + ` exceed context limit: 195000 + 8192 > 200000, decrease input length or ` + "`max_tokens`" + ` and try again"}}`, length},
			{"Anthropic, bytes", 413, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`, ""},
			{"Anthropic, credit", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}`, quota},
			{"Anthropic, own limit", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-02-01 at 00:00 UTC."}}`, quota},
			{"Anthropic, billing", 402, `{"type":"error","error":{"type":"billing_error","message":"x"}}`, quota},
			{"Anthropic, filter", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`, policy},
			{"Anthropic, key", 401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, credential},
			{"Anthropic, permission", 403, `{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}`, permissions},
			{"Anthropic, rate", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute. Please reduce the prompt length or the maximum tokens requested, or try again later."}}`, ""},
			{"Anthropic, bad request", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"messages: roles must alternate"}}`, ""},
		},
		gemini.New(): {
			{"Gemini, length", 400, `{"error":{"code":400,"message":"The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`, length},
			{"Vertex AI, length", 400, `[{"error":{"code":400,"message":"Unable to submit request because the input token count is 33000 but model only supports up to 32768. Reduce the input token count and try again.","status":"INVALID_ARGUMENT"}}]`, length},
			{"Gemini, key", 400, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}`, credential},
			{"Gemini, key expired", 400, `{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}`, credential},
			{"Vertex AI, token", 401, `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_EXPIRED"}]}}`, credential},
			{"Gemini, permission", 403, `{"error":{"code":403,"message":"Generative Language API has not been used in project 1 before or it is disabled.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`, permissions},
			{"Google, billing", 403, `{"error":{"code":403,"message":"This API method requires billing to be enabled.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BILLING_DISABLED"}]}}`, quota},
			{"Gemini, prepaid", 429, `{"error":{"code":429,"message":"Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.","status":"RESOURCE_EXHAUSTED"}}`, quota},
			{"Gemini, rate", 429, `{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}`, ""},
		},
		bedrock.New(): {
			{"Bedrock, length", 400, `{"__type":"ValidationException","message":"Input is too long for requested model."}`, length},
			{"Bedrock, length of Claude", 400, `{"__type":"ValidationException","message":"The model returned the following errors: prompt is too long: 200049 tokens > 200000 maximum"}`, length},
			{"Bedrock, key", 403, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`, credential},
			{"Bedrock, token", 403, `{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`, credential},
			{"Bedrock, bearer token", 403, `{"__type":"AccessDeniedException","message":"Bearer Token has expired"}`, credential},
			{"Bedrock, signature in a 400", 400, `{"__type":"IncompleteSignatureException","message":"x"}`, credential},
			{"Bedrock, permission", 403, `{"__type":"AccessDeniedException","message":"You don't have access to the model with the specified model ID."}`, permissions},
			{"Bedrock, payment", 403, `{"__type":"AccessDeniedException","message":"Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided."}`, quota},
			{"Bedrock, throttled", 429, `{"__type":"ThrottlingException","message":"Too many tokens, please wait before trying again."}`, ""},
		},
	} {
		for _, c := range rows {
			resp := &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}
			f, ok := codec.DecodeError(resp, provider.Settings{}).(*provider.Failure)
			if !ok || f.Class != c.want {
				t.Errorf("%s: %+v, want class %q", c.name, f, c.want)
				continue
			}
			switch c.want {
			case credential, permissions:
				if f.Body != nil || f.Code != "" || f.Status != http.StatusUnauthorized && f.Status != http.StatusForbidden {
					t.Errorf("%s: %+v tells of the credential, or blames the request", c.name, f)
				}
			case quota: // is no business of callers, and another account may have some
				if !f.Fallback() || f.Body != nil || strings.Contains(f.Message, "redit") {
					t.Errorf("%s: %+v", c.name, f)
				}
			case length, policy:
				if f.Fallback() || f.Body == nil && c.status != 403 {
					t.Errorf("%s: %+v is not passed on to the caller", c.name, f)
				}
			}
		}
	}
}

func TestClassifyInBand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said provider.Said
		want provider.Class
	}{
		{provider.Said{Code: "401"}, provider.ClassCredential},
		{provider.Said{Code: "402"}, provider.ClassQuota},
		{provider.Said{Code: "403"}, provider.ClassPermission},
		{provider.Said{Code: "500"}, ""},
		{provider.Said{Type: "authentication_error"}, provider.ClassCredential},
		{provider.Said{Type: "overloaded_error"}, ""},
		{provider.Said{Code: "context_length_exceeded"}, provider.ClassContextLength},
	} {
		f := provider.InBand(c.said)
		if f.Class != c.want || !f.Fallback() {
			t.Errorf("%+v: %+v, want class %q", c.said, f, c.want)
		}
	}
}

// TestUnfiltered: whoever has another target for what a provider does not want to answer is told so in time.
func TestUnfiltered(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text, reason := "", "content_filter"
		if strings.Contains(string(body), "some") {
			text = "some"
		}
		if strings.Contains(string(body), "none") {
			reason = "stop"
			text = "none"
		}
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":%q},\"finish_reason\":null}]}\n\n", text)
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}]}\n\ndata: [DONE]\n\n", reason)
			return
		}
		_, _ = fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":%q}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`, text, reason)
	}))
	t.Cleanup(s.Close)
	cl, err := provider.New("house", provider.Config{BaseURL: s.URL}, provider.Options{Codec: openai.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	for _, stream := range []bool{false, true} {
		for prompt, filtered := range map[string]bool{"all": true, "some": false, "none": false} {
			for _, via := range []provider.Via{{}, {Unfiltered: true}} {
				r, err := wire.ParseChat(fmt.Appendf(nil, `{"model":"m","messages":[{"role":"user","content":%q}],"stream":%t}`, prompt, stream))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := cl.Do(t.Context(), via, llm.Target{Provider: "house", Model: "m"}, r)
				f, _ := errors.AsType[*provider.Failure](err)
				if failed := f != nil && f.Class == provider.ClassContentPolicy && f.Fallback() && !f.NothingBilled; failed != (filtered && via.Unfiltered) || f != nil && !failed {
					t.Errorf("stream %t, prompt %q, %+v: %+v", stream, prompt, via, err)
				}
				if resp != nil {
					for range resp.Events {
					}
				}
			}
		}
	}
}

// TestInBandLimits: some say 200 and then that the rate limit is used up; what their head says of it counts.
func TestInBandLimits(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Retry-After", "4")
		h.Set("X-Ratelimit-Limit-Tokens", "30000")
		h.Set("X-Ratelimit-Remaining-Tokens", "-27689")
		h.Set("X-Ratelimit-Reset-Tokens", "64")
		_, _ = io.WriteString(w, "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Your requests have exceeded the token rate limit.\"}}\n\n")
	}))
	t.Cleanup(s.Close)
	cl, err := provider.New("house", provider.Config{BaseURL: s.URL}, provider.Options{Codec: openai.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r, err := wire.ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = cl.Do(t.Context(), provider.Via{}, llm.Target{Provider: "house", Model: "m"}, r)
	f, _ := errors.AsType[*provider.Failure](err)
	want := llm.Limit{Told: true, Most: 30000, Reset: 64 * time.Second}
	if f == nil || f.Status != http.StatusTooManyRequests || f.RetryAfter != 4*time.Second || f.Limits.Tokens != want {
		t.Errorf("%+v", f)
	}
}
