package provider

import (
	"net/http"
	"strconv"
	"strings"
)

// What vendors' words mean. A word is an error's code, type, status or exception, whatever the dialect has; a phrase is a part of a
// message, for servers whose words do not say it. Each has a body in TestClassify that is as its vendor sends it.
//
// No word and no phrase here is one for a rate limit too: "exceeded your current quota" is not, for Gemini says it of a minute's.
var (
	wordClasses = map[string]Class{
		"context_length_exceeded":   ClassContextLength, // OpenAI, and most of those that speak like it
		"exceed_context_size_error": ClassContextLength, // llama.cpp

		"content_filter":                 ClassContentPolicy, // Azure, Moonshot
		"responsibleaipolicyviolation":   ClassContentPolicy, // Azure
		"content_policy_violation":       ClassContentPolicy, // OpenAI
		"image_content_policy_violation": ClassContentPolicy,
		"moderation_blocked":             ClassContentPolicy,
		"data_inspection_failed":         ClassContentPolicy, // Alibaba
		"datainspectionfailed":           ClassContentPolicy,

		"insufficient_quota":           ClassQuota, // OpenAI
		"billing_hard_limit_reached":   ClassQuota,
		"billing_not_active":           ClassQuota,
		"billing_error":                ClassQuota, // Anthropic
		"exceeded_current_quota_error": ClassQuota, // Moonshot
		"arrearage":                    ClassQuota, // Alibaba
		"billing_disabled":             ClassQuota, // Google

		"invalid_api_key":                     ClassCredential, // OpenAI
		"account_deactivated":                 ClassCredential,
		"authentication_error":                ClassCredential, // Anthropic
		"invalid_authentication_error":        ClassCredential, // Moonshot
		"unauthenticated":                     ClassCredential, // Google
		"api_key_invalid":                     ClassCredential,
		"access_token_expired":                ClassCredential,
		"access_token_type_unsupported":       ClassCredential,
		"credentials_missing":                 ClassCredential,
		"account_state_invalid":               ClassCredential,
		"consumer_invalid":                    ClassCredential,
		"consumer_suspended":                  ClassCredential,
		"unrecognizedclientexception":         ClassCredential, // AWS
		"expiredtokenexception":               ClassCredential,
		"invalidsignatureexception":           ClassCredential,
		"incompletesignatureexception":        ClassCredential,
		"missingauthenticationtokenexception": ClassCredential,

		"permission_error":                     ClassPermission, // Anthropic
		"permission_denied":                    ClassPermission, // Google
		"api_key_service_blocked":              ClassPermission,
		"api_key_http_referrer_blocked":        ClassPermission,
		"api_key_ip_address_blocked":           ClassPermission,
		"api_key_android_app_blocked":          ClassPermission,
		"api_key_ios_app_blocked":              ClassPermission,
		"service_disabled":                     ClassPermission,
		"accessdeniedexception":                ClassPermission, // AWS
		"unsupported_country_region_territory": ClassPermission, // OpenAI
	}
	phraseClasses = []phrase{
		{"maximum context length", ClassContextLength},                     // OpenAI, vLLM, Mistral, DeepSeek, OpenRouter, Ollama
		{"exceeds the context window", ClassContextLength},                 // OpenAI
		{"exceeds the context length", ClassContextLength},                 // Ollama
		{"longer than the model's context length", ClassContextLength},     // SGLang
		{"longer than the maximum model length", ClassContextLength},       // vLLM, older
		{"prompt is too long", ClassContextLength},                         // Anthropic, also through Bedrock and Vertex AI; Fireworks
		{"exceed context limit", ClassContextLength},                       // Anthropic, of prompt and max_tokens together
		{"input is too long for requested model", ClassContextLength},      // Bedrock
		{"too many input tokens", ClassContextLength},                      // Bedrock, Titan
		{"input tokens exceeded", ClassContextLength},                      // Bedrock, Nova
		{"exceeds the maximum number of tokens", ClassContextLength},       // Gemini
		{"but model only supports up to", ClassContextLength},              // Vertex AI
		{"exceeds the available context size", ClassContextLength},         // llama.cpp
		{"maximum prompt length is", ClassContextLength},                   // xAI
		{"`inputs` tokens + `max_new_tokens` must be", ClassContextLength}, // Text Generation Inference, Together
		{"reduce the length of the messages", ClassContextLength},          // Groq

		{"content management policy", ClassContentPolicy},                 // Azure
		{"blocked by content filtering policy", ClassContentPolicy},       // Anthropic
		{"flagged as potentially violating", ClassContentPolicy},          // OpenAI
		{"requires moderation", ClassContentPolicy},                       // OpenRouter
		{"rejected as a result of our safety system", ClassContentPolicy}, // OpenAI

		{"credit balance is too low", ClassQuota},               // Anthropic
		{"reached your specified api usage limits", ClassQuota}, // Anthropic
		{"billing hard limit", ClassQuota},                      // OpenAI
		{"insufficient balance", ClassQuota},                    // DeepSeek
		{"insufficient credits", ClassQuota},                    // OpenRouter
		{"credits are depleted", ClassQuota},                    // Gemini
		{"used all available credits", ClassQuota},              // xAI
		{"invalid_payment_instrument", ClassQuota},              // Bedrock

		{"incorrect api key", ClassCredential},                         // OpenAI, xAI
		{"api key not valid", ClassCredential},                         // Google
		{"api key expired", ClassCredential},                           // Google
		{"bearer token has expired", ClassCredential},                  // Bedrock
		{"security token included in the request is", ClassCredential}, // AWS: invalid, expired
	}
)

// A phrase is a part of messages, in small letters, and what it means.
type phrase struct {
	text  string
	class Class
}

// Classify says what a refusal is about. status is that of the answer, 0 for an error inside of one.
func Classify(status int, e Said) Class {
	if n, err := strconv.Atoi(e.Code); err == nil && status == 0 {
		status = n // some servers have no other word
	}
	if status == http.StatusUnauthorized {
		return ClassCredential // whatever it says
	}
	_, said := wordClass(e)
	if said != "" && said != ClassPermission { // which is one word for several causes
		return said
	}
	if class := phraseClass(status, e.Message); class != "" {
		return class
	}
	switch status {
	case http.StatusPaymentRequired:
		return ClassQuota
	case http.StatusForbidden:
		return ClassPermission
	}
	return said
}

// wordClass is what the words of an error say, and which of them does.
func wordClass(e Said) (word string, class Class) {
	for _, word := range [...]string{e.Code, e.Type} {
		if class := wordClasses[strings.ToLower(word)]; class != "" {
			return word, class
		}
	}
	return "", ""
}

// phraseClass is what the message of an error says. One that came for a rate limit says nothing of a length: how much fits into a
// minute is no property of a model.
func phraseClass(status int, message string) Class {
	message = strings.ToLower(message)
	for _, p := range phraseClasses {
		if strings.Contains(message, p.text) && (status != http.StatusTooManyRequests || p.class != ClassContextLength) {
			return p.class
		}
	}
	return ""
}

// ofAccess reports whether the credential is refused, whose holder is nobody but Penstock.
func (c Class) ofAccess() bool { return c == ClassCredential || c == ClassPermission }
