package mock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// A speech is how the mock takes part in one dialect, or one half of it where streams have a path of their own.
type speech struct {
	line    string   // how the first line of a request begins
	prompts [][]byte // what the body has to hold one of
	answer  func(body []byte) [][]byte
}

// speeches are all that the mock knows.
var speeches = []*speech{
	{"POST /v1/chat/completions ", written(asOpenAI), openAI()},
	{"POST /v1/messages ", written(asBlocks, asAnthropic), anthropic()},
	{"POST /v1beta/models/" + Model + ":generateContent ", written(asContents), always(geminiPlain())},
	{"POST /v1beta/models/" + Model + ":streamGenerateContent?alt=sse ", written(asContents), always(geminiStream())},
	{"POST /model/" + Model + "/converse ", written(asConverse), always(bedrockPlain())},
	{"POST /model/" + Model + "/converse-stream ", written(asConverse), always(bedrockStream())},
}

// speechFor finds the one for a request, nil if it is not a chat call.
func speechFor(line []byte) *speech {
	for _, s := range speeches {
		if bytes.HasPrefix(line, []byte(s.line)) {
			return s
		}
	}
	return nil
}

// always is an answer that the body does not choose.
func always(writes [][]byte) func([]byte) [][]byte {
	return func([]byte) [][]byte { return writes }
}

// streamed says in a body that a stream is asked for.
var streamed = []byte(`"stream":true`)

// Text is the answer.
func Text() string {
	var b strings.Builder
	for i := range Tokens {
		b.WriteString(word(i))
	}
	return b.String()
}

func word(i int) string { return fmt.Sprintf("word%02d ", i) }

// plain is a plain answer, which is one write.
func plain(format string, args ...any) [][]byte {
	body := fmt.Sprintf(format, args...)
	return [][]byte{fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)}
}

// stream gives the writes of a stream: the head with what comes before the content, the content, the end.
func stream(mediaType, before string, content func(i int) string, behind string) [][]byte {
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + mediaType + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	writes := [][]byte{append([]byte(head), chunk(before)...)}
	for i := range Tokens {
		writes = append(writes, chunk(content(i)))
	}
	return append(writes, append(chunk(behind), "0\r\n\r\n"...))
}

// chunk is a chunk of the transfer encoding; nothing is none, since an empty one would be the last.
func chunk(data string) []byte {
	if data == "" {
		return nil
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data)
}

const sse = "text/event-stream"

func openAI() func([]byte) [][]byte {
	const usage = `{"prompt_tokens":250,"completion_tokens":50,"total_tokens":300}`
	event := func(choices, more string) string {
		return fmt.Sprintf("data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":%q,\"choices\":%s%s}\n\n",
			Model, choices, more)
	}
	choice := func(delta, finish string) string {
		return event(fmt.Sprintf(`[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]`, delta, finish), "")
	}
	whole := plain(`{"id":"chatcmpl-bench","object":"chat.completion","created":1764000000,"model":%q,"choices":[{"index":0,`+
		`"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`, Model, Text(), usage)
	streams := map[bool][][]byte{}
	for _, counted := range []bool{false, true} {
		end := choice("{}", `"stop"`)
		if counted {
			end += event(`[]`, `,"usage":`+usage)
		}
		streams[counted] = stream(sse, choice(`{"role":"assistant","content":""}`, "null"),
			func(i int) string { return choice(fmt.Sprintf(`{"content":%q}`, word(i)), "null") }, end+"data: [DONE]\n\n")
	}
	return func(body []byte) [][]byte {
		if !bytes.Contains(body, streamed) {
			return whole
		}
		return streams[bytes.Contains(body, []byte(`"include_usage":true`))]
	}
}

func anthropic() func([]byte) [][]byte {
	message := func(content, reason, usage string) string {
		return fmt.Sprintf(`{"id":"msg_bench","type":"message","role":"assistant","model":%q,"content":[%s],"stop_reason":%s,"stop_sequence":null,`+
			`"usage":{"input_tokens":250,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":%s}}`, Model, content, reason, usage)
	}
	event := func(name, more string) string {
		return fmt.Sprintf("event: %[1]s\ndata: {\"type\":%[1]q%[2]s}\n\n", name, more)
	}
	whole := plain("%s", message(fmt.Sprintf(`{"type":"text","text":%q}`, Text()), `"end_turn"`, "50"))
	events := stream(sse,
		event("message_start", `,"message":`+message("", "null", "1"))+
			event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
		func(i int) string {
			return event("content_block_delta", fmt.Sprintf(`,"index":0,"delta":{"type":"text_delta","text":%q}`, word(i)))
		},
		event("content_block_stop", `,"index":0`)+
			event("message_delta", `,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":50}`)+event("message_stop", ""))
	return func(body []byte) [][]byte {
		if bytes.Contains(body, streamed) {
			return events
		}
		return whole
	}
}

// geminiFrame is a piece of an answer, or the whole.
func geminiFrame(text, more, usage string) string {
	return fmt.Sprintf(`{"candidates":[{"content":{"parts":[{"text":%q}],"role":"model"},"index":0%s}],"usageMetadata":{"promptTokenCount":250%s},`+
		`"modelVersion":%q,"responseId":"bench"}`, text, more, usage, Model)
}

// The ends of Gemini's answers.
const (
	geminiEnd   = `,"finishReason":"STOP"`
	geminiUsage = `,"candidatesTokenCount":50,"totalTokenCount":300`
)

func geminiPlain() [][]byte { return plain("%s", geminiFrame(Text(), geminiEnd, geminiUsage)) }

// geminiStream says in the last piece of the content that it was the last.
func geminiStream() [][]byte {
	frame := func(i int) string {
		if i == Tokens-1 {
			return "" // which comes with the end
		}
		return "data: " + geminiFrame(word(i), "", `,"totalTokenCount":250`) + "\r\n\r\n"
	}
	return stream(sse, "", frame, "data: "+geminiFrame(word(Tokens-1), geminiEnd, geminiUsage)+"\r\n\r\n")
}

const bedrockUsage = `"usage":{"inputTokens":250,"outputTokens":50,"totalTokens":300},"metrics":{"latencyMs":5}`

func bedrockPlain() [][]byte {
	return plain(`{"output":{"message":{"role":"assistant","content":[{"text":%q}]}},"stopReason":"end_turn",%s}`, Text(), bedrockUsage)
}

func bedrockStream() [][]byte {
	event := func(name, data string) string {
		return binaryFrame(data, ":event-type", name, ":content-type", "application/json", ":message-type", "event")
	}
	return stream("application/vnd.amazon.eventstream", event("messageStart", `{"role":"assistant"}`),
		func(i int) string {
			return event("contentBlockDelta", fmt.Sprintf(`{"contentBlockIndex":0,"delta":{"text":%q}}`, word(i)))
		},
		event("contentBlockStop", `{"contentBlockIndex":0}`)+event("messageStop", `{"stopReason":"end_turn"}`)+event("metadata", "{"+bedrockUsage+"}"))
}

// binaryFrame is a frame of Amazon's event streams: its length, that of its headers, the checksum of both; the headers, which are
// names and values that are strings (7) here; the data; the checksum of all.
func binaryFrame(data string, headers ...string) string {
	var h []byte
	for i := 0; i < len(headers); i += 2 {
		h = append(append(h, byte(len(headers[i]))), headers[i]...)
		h = append(binary.BigEndian.AppendUint16(append(h, 7), uint16(len(headers[i+1]))), headers[i+1]...)
	}
	sum := func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(h)+len(data)))
	b = sum(binary.BigEndian.AppendUint32(b, uint32(len(h))))
	return string(sum(append(append(b, h...), data...)))
}
