package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func (bedrock) garbage() []byte { return []byte(`{"contentBlockIndex":0,"delta":{"te`) }

func (bedrock) end() []byte { return nil }

func (bedrock) strange() frame {
	return frame{name: "simulatorNotice", data: []byte(`{"notice":"an event of a kind that no client knows"}`)}
}

// exceptions are what errors are called, by status.
var exceptions = map[int]string{
	400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
	408: "ModelTimeoutException", 424: "ModelErrorException", 429: "ThrottlingException", 503: "ServiceUnavailableException",
}

func exceptionOf(r *refusal) string {
	if name := exceptions[r.status]; name != "" {
		return name
	}
	if r.status < http.StatusInternalServerError {
		return "ValidationException"
	}
	return "InternalServerException"
}

func (bedrock) failure(r *refusal) []byte {
	b := appendString([]byte(`{"message":`), r.message)
	return append(appendPadding(b, r.pad), '}')
}

func (d bedrock) failed(r *refusal) frame {
	name := exceptionOf(r)
	return frame{name: strings.ToLower(name[:1]) + name[1:], data: d.failure(r), failed: true}
}

// label puts the error's type into a header, and no wait: the vendor names none.
func (bedrock) label(h http.Header, r *refusal) {
	h.Set("X-Amzn-Errortype", exceptionOf(r)+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	h.Set("X-Amzn-Requestid", h.Get("X-Request-Id"))
}

// admits wants a key that is ID:SECRET to have signed the request, and any other as a bearer token. Without a key, something must be
// there.
func (bedrock) admits(r *http.Request, body []byte, key string) bool {
	given := r.Header.Get("Authorization")
	id, secret, pair := strings.Cut(key, ":")
	if !pair {
		return key == "" || given == "Bearer "+key
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	_, rest, _ := strings.Cut(given, "Credential=")
	scope, rest, _ := strings.Cut(rest, ", SignedHeaders=")
	names, _, _ := strings.Cut(rest, ", ")
	parts := strings.Split(scope, "/")
	if err != nil || len(parts) != 5 || time.Since(at).Abs() > 5*time.Minute {
		return false
	}
	// The path is not decoded, since it is signed as it came.
	again := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{}, ContentLength: r.ContentLength}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	keys := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: r.Header.Get("X-Amz-Security-Token")}
	err = v4.NewSigner().SignHTTP(r.Context(), keys, again, hashed(body), parts[3], parts[2], at)
	return err == nil && again.Header.Get("Authorization") == given
}

// bedrockReasons are the dialect's words for why a choice ended.
var bedrockReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}

func (bedrock) reason(a *answer) []byte {
	if a.do.noFinish {
		return []byte("null")
	}
	reason, ok := bedrockReasons[a.choices[0].finish]
	if !ok {
		reason = a.choices[0].finish
	}
	return appendString(nil, reason)
}

// usage is the object of what was used, nil if it is not reported. Cached tokens are beside the others here.
func (bedrock) usage(a *answer) []byte {
	switch a.do.usage {
	case "none":
		return nil
	case "null":
		return []byte("null")
	}
	u := a.claimed(a.usageAfter(a.generated()))
	b := strconv.AppendInt([]byte(`{"inputTokens":`), int64(u.prompt-u.cached-u.written), 10)
	b = strconv.AppendInt(append(b, `,"outputTokens":`...), int64(u.completion), 10)
	b = strconv.AppendInt(append(b, `,"totalTokens":`...), int64(u.prompt+u.completion), 10)
	b = strconv.AppendInt(append(b, `,"cacheReadInputTokens":`...), int64(u.cached), 10)
	b = strconv.AppendInt(append(b, `,"cacheWriteInputTokens":`...), int64(u.written), 10)
	if u.written > 0 && !a.do.untold {
		b = fmt.Appendf(b, `,"cacheDetails":[{"inputTokens":%d,"ttl":"1h"},{"inputTokens":%d,"ttl":"5m"}]`, u.hour, u.written-u.hour)
	}
	return append(b, '}')
}

func (d bedrock) plain(a *answer) []byte {
	b := []byte(`{"metrics":{"latencyMs":1},"output":{"message":{"role":"assistant","content":[`)
	for i, p := range a.pieces {
		if !p.opens {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		said := ""
		for _, q := range a.pieces[i:] {
			if q.block == p.block {
				said += q.text
			}
		}
		switch p.kind {
		case pieceReasoning:
			b = appendString(append(b, `{"reasoningContent":{"reasoningText":{"text":`...), said)
			b = append(b, `,"signature":"`+signature+`"}}}`...)
		case pieceCall:
			call := a.choices[p.choice].calls[p.call]
			b = appendString(append(b, `{"toolUse":{"toolUseId":`...), call.id)
			b = appendString(append(b, `,"name":`...), call.name)
			if !json.Valid([]byte(said)) {
				said = "{}"
			}
			b = append(append(append(b, `,"input":`...), said...), `}}`...)
		default:
			b = append(appendString(append(b, `{"text":`...), said), '}')
		}
	}
	b = append(append(b, `]}},"stopReason":`...), d.reason(a)...)
	if u := d.usage(a); u != nil {
		b = append(append(b, `,"usage":`...), u...)
	}
	b = appendPadding(b, a.do.pad)
	return append(b, '}')
}

// about is an event about a block.
func about(block int, name, rest string) frame {
	return frame{name: name, data: []byte(`{"contentBlockIndex":` + strconv.Itoa(block) + rest + `,"p":"abcdefgh"}`)}
}

func (bedrock) opening(*answer) []frame {
	return []frame{{name: "messageStart", data: []byte(`{"p":"abcd","role":"assistant"}`)}}
}

func (bedrock) content(a *answer, p piece) []frame {
	var frames []frame
	if p.opens {
		if p.proof {
			frames = append(frames, proof(p.block-1))
		}
		if p.block > 0 {
			frames = append(frames, about(p.block-1, "contentBlockStop", ""))
		}
		if p.kind == pieceCall {
			call := a.choices[p.choice].calls[p.call]
			start := appendString(append(appendString([]byte(`{"toolUse":{"toolUseId":`), call.id), `,"name":`...), call.name)
			frames = append(frames, about(p.block, "contentBlockStart", `,"start":`+string(start)+`}}`))
		}
	}
	before, behind := `{"text":`, `}`
	switch p.kind {
	case pieceReasoning:
		before, behind = `{"reasoningContent":{"text":`, `}}`
	case pieceCall:
		before, behind = `{"toolUse":{"input":`, `}}`
	}
	return append(frames, about(p.block, "contentBlockDelta", `,"delta":`+string(appendString([]byte(before), p.text))+behind))
}

func (d bedrock) closing(a *answer) []frame {
	var frames []frame
	if a.blocks > 0 {
		if last := a.pieces[len(a.pieces)-1]; last.kind == pieceReasoning {
			frames = append(frames, proof(last.block))
		}
		frames = append(frames, about(a.blocks-1, "contentBlockStop", ""))
	}
	if a.do.noDone {
		return frames
	}
	frames = append(frames, frame{name: "messageStop", data: []byte(`{"stopReason":` + string(d.reason(a)) + `}`)})
	data := []byte(`{"metrics":{"latencyMs":1}`)
	if u := d.usage(a); u != nil {
		data = append(append(data, `,"usage":`...), u...)
	}
	return append(frames, frame{name: "metadata", data: append(data, '}')})
}

// proof is the event that proves a block of reasoning.
func proof(block int) frame {
	return about(block, "contentBlockDelta", `,"delta":{"reasoningContent":{"signature":"`+signature+`"}}`)
}

func (bedrock) vectors(*answer, *ask) []byte { return []byte("{}") }

func (bedrock) models([]string) []byte { return []byte("{}") }

// hashed is the hash of a body, as signatures have it.
func hashed(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
