package limit

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
)

// saying is a request with one part.
func saying(t *testing.T, in *tongue, part string) *llm.Request {
	t.Helper()
	body := map[string]string{
		"openai":    `{"model":"support","messages":[{"role":"user","content":[PART]}]}`,
		"anthropic": `{"model":"support","max_tokens":9,"messages":[{"role":"user","content":[PART]}]}`,
		"responses": `{"model":"support","input":[{"role":"user","content":[PART]}]}`,
	}[in.name]
	r, err := in.parse([]byte(strings.Replace(body, "PART", part, 1)))
	if err != nil {
		t.Fatal(in.name, ": ", err)
	}
	return r
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// wave is a recording of so many bytes of samples: one channel of 16 bits.
func wave(kind uint16, rate uint32, samples int) []byte {
	b := []byte("RIFF____WAVEfmt ")
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 1<<30) // bytes a second, which it lies about
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(samples))
	return append(b, make([]byte, samples)...)
}

// TestMediaThatAreOthers: what may be a document, a film or a recording of any length is not bounded as the picture or the text that it
// is sent as; nor is a recording bounded by its bytes if those may be a day of silence.
func TestMediaThatAreOthers(t *testing.T) {
	t.Parallel()
	const context = 400_000
	pdf := base64Of([]byte("%PDF-1.7\n1 0 obj<</Type/ObjStm/Length 9>>stream\nxx"))
	late := base64Of([]byte(strings.Repeat("% a remark\n", 20) + "%PDF-1.4"))
	film := base64Of([]byte("\x1a\x45\xdf\xa3 matroska"))
	openai := func(url string) string { return `{"type":"image_url","image_url":{"url":"` + url + `"}}` }
	items := func(url string) string { return `{"type":"input_image","image_url":"` + url + `"}` }
	sound := func(data []byte, format string) string {
		return `{"type":"input_audio","input_audio":{"data":"` + base64Of(data) + `","format":"` + format + `"}}`
	}
	for _, c := range []struct {
		in   int
		part string
		most int64 // 0 is all of the context
	}{
		{0, `{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,` + pdf + `"}}`, 0},
		{0, `{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,` + late + `"}}`, 0},
		{2, `{"type":"input_file","filename":"a.txt","file_data":"data:text/plain;base64,` + pdf + `"}`, 0},
		{1, `{"type":"document","source":{"type":"base64","media_type":"text/plain","data":"` + pdf + `"}}`, 0},
		{1, `{"type":"\u0064ocument","source":{"type":"file","file_id":"file_1"}}`, 0},
		{1, `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hello"}}`, 1000},
		{0, openai("https://x/y.pdf"), 0}, {2, items("https://x/y.MP4?a=b"), 0}, {1, `{"type":"image","source":{"type":"url","url":"https://x/y.pdf"}}`, 0},
		{0, openai("data:application/pdf;base64," + pdf), 0}, {2, items("data:image/png;base64," + pdf), 0}, {0, openai("data:image/png;base64," + film), 0},
		{0, openai("data:application/pdf;base64,JVBERi0xLjQ"), 0}, {0, openai("DATA:application/pdf,x"), 0}, // of which this makes nothing
		{0, openai("https://x/y.JPG?z=.pdf"), 3000}, {0, openai("https://x/y"), 3000},
		{0, sound([]byte("fLaC\x00\x00\x00"), "flac"), 0}, {0, sound([]byte("OggS"), "wav"), 0},
		{0, sound(wave(1, 1, 2000), "wav"), 36_000}, {0, sound(wave(0x55, 16000, 2000), "wav"), 0},
		{0, sound(wave(1, 16000, 32_000*30), "wav"), 3000},
		{0, sound(append([]byte("ID3\x04\x00\x00\x00\x00\x00\x02..\xff\xfb"), make([]byte, 4000)...), "mp3"), 3000},
		{0, sound(append([]byte("ID3\x04\x00\x00\x00\x00\x00\x02..fLaC"), make([]byte, 4000)...), "mp3"), 0},
	} {
		in := &tongues[c.in]
		bound := inputBound(&pipeline.Exchange{Op: llm.OpChat, Request: saying(t, in, c.part)}, "gpt-5", context)
		if c.most == 0 && bound != context || c.most > 0 && bound > c.most {
			t.Errorf("%s: %.100s has %d tokens at most", in.name, c.part, bound)
		}
	}
	slow := sound(wave(1, 1, 2000), "wav") // a thousand seconds
	if bound := inputBound(&pipeline.Exchange{Op: llm.OpChat, Request: saying(t, &tongues[0], slow)}, "gpt-5", context); bound < 32_000 {
		t.Errorf("a thousand seconds have %d tokens at most", bound)
	}
}

// photo is a picture whose bytes are many.
func photo(t *testing.T, side int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	n := uint32(1)
	for i := range m.Pix { // what cannot be packed
		n = n*1664525 + 1013904223
		m.Pix[i] = byte(n >> 24)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRatesTakeMediaAsTheyAreRead: a picture does not count by its bytes, which no limit of tokens a minute would ever let through.
func TestRatesTakeMediaAsTheyAreRead(t *testing.T) {
	t.Parallel()
	data := photo(t, 700)
	if len(data) < 1_000_000 {
		t.Fatalf("a picture of %d bytes", len(data))
	}
	for i := range tongues {
		in := &tongues[i]
		pictures := in.write([]said{{role: "user", text: "what is it?", picture: data}}, nil)
		for name, r := range map[string]*llm.Request{
			"picture": request(t, in, pictures, in.cap, 100),
			"link":    request(t, in, in.write([]said{{role: "user", text: "what is it?", link: "https://x/y.png"}}, nil), in.cap, 100),
		} {
			for limit, passes := range map[int64]bool{3000: true, 200: false} {
				b := onBench(t, Definitions{Limits: []Limit{{ID: "lim", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: InputTokens, Amount: limit, Mode: Enforce}}}})
				x := exchange(llm.OpChat, 0)
				x.Request = r
				_, err := b.call(x, target, 800, 5)
				if f := fault.From(err); (err == nil) != passes || err != nil && f.Code != fault.RateExceeded {
					t.Errorf("%s, %s, %d a minute: %v", in.name, name, limit, err)
				}
			}
		}
	}
	speech := `{"type":"input_audio","input_audio":{"data":"` + base64Of(wave(1, 16000, 1<<20)) + `","format":"wav"}}`
	paper := `{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + base64Of(append([]byte("%PDF"), data...)) + `"}}`
	for part, most := range map[string]int64{speech: 2000, paper: 110_000} {
		x := exchange(llm.OpChat, 0)
		x.Request = saying(t, &tongues[0], part)
		a := &allowance{plan: &plan{call: call{model: "gpt-4o"}}}
		x.Allowance = a
		likely := a.likelyInput(x)
		if counted, _ := tokens.Prompt("gpt-4o", x.Request); likely > most || likely < counted {
			t.Errorf("%.40s: likely %d tokens, counted %d", part, likely, counted)
		}
	}
}

// FuzzSound: no recording has a length that nothing says, and nothing panics.
func FuzzSound(f *testing.F) {
	f.Add([]byte("ID3\x04\x00\x00\x7f\x7f\x7f\x7f"))
	f.Add([]byte{0xff, 0xfb})
	f.Add(wave(1, 8000, 20))
	f.Add([]byte("RIFF____WAVEfmt \xff\xff\xff\xff"))
	f.Add([]byte("RIFF____WAVELIST\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if most, ok := soundOf(data); most < 0 || ok && most < aSecond || !ok && most != 0 {
			t.Fatalf("%d %t", most, ok)
		}
	})
}
