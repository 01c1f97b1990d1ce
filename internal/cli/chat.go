package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/wire/sse"
)

// A callerFlags says which data plane to call and with which key.
type callerFlags struct{ url, keyFile string }

func (f *callerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "url", "", "address of the data plane (PENSTOCK_URL; default http://127.0.0.1:8080)")
	c.Flags().StringVar(&f.keyFile, "key-file", "", "file with a key (or the key in PENSTOCK_API_KEY)")
}

// caller gives address and key.
func (a *app) caller(f *callerFlags) (base, key string, err error) {
	base = f.url
	if base == "" {
		base, _ = a.env("PENSTOCK_URL")
	}
	if base == "" {
		base = "http://127.0.0.1:8080"
	}
	base = strings.TrimSuffix(strings.TrimRight(base, "/"), "/v1")
	if f.keyFile != "" {
		b, err := os.ReadFile(f.keyFile)
		if err != nil {
			return "", "", fail(exitUsage, "", "The key file cannot be read: %v", err)
		}
		return base, strings.TrimSpace(string(b)), nil
	}
	key, _ = a.env("PENSTOCK_API_KEY")
	if key == "" {
		return "", "", fail(exitUsage, "export PENSTOCK_API_KEY=$(penstock key create --project NAME)", "There is no key in PENSTOCK_API_KEY")
	}
	return base, key, nil
}

func (a *app) chatCommand() *cobra.Command {
	f := &callerFlags{}
	var system string
	c := &cobra.Command{
		Use:     `chat MODEL "text"`,
		Short:   "Send one chat and print the answer as it comes",
		Example: "  penstock chat gpt-5-mini \"Say hello in Latin\"\n  echo \"Sum this up\" | penstock chat support -",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[1]
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(a.in, 20<<20))
				if err != nil {
					return fail(exitFailure, "", "Standard input cannot be read: %v", err)
				}
				text = string(b)
			}
			base, key, err := a.caller(f)
			if err != nil {
				return err
			}
			return a.chat(cmd.Context(), base, key, args[0], system, text)
		},
	}
	f.add(c)
	c.Flags().StringVar(&system, "system", "", "system message")
	return c
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chatBody struct {
	Model         string         `json:"model"`
	Messages      []chatMessage  `json:"messages"`
	Stream        bool           `json:"stream,omitzero"`
	StreamOptions map[string]any `json:"stream_options,omitempty"`
	MaxTokens     int            `json:"max_tokens,omitzero"`
}

// chat streams one answer to stdout, and says at its end on stderr who answered.
func (a *app) chat(ctx context.Context, base, key, model, system, text string) error {
	body := chatBody{Model: model, Stream: true}
	if system != "" {
		body.Messages = append(body.Messages, chatMessage{"system", system})
	}
	body.Messages = append(body.Messages, chatMessage{"user", text})
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", bytes.NewReader(b))
	if err != nil {
		return fail(exitUsage, "write it as http://HOST:PORT", "%q is not an address", base)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := new(http.Client).Do(req) // no timeout: an answer may take its time, and Ctrl-C ends it
	if err != nil {
		return fail(exitUnreachable, "start it with: penstock serve; or give its address in PENSTOCK_URL", "No Penstock answers at %s: %v", base, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what came is shown; that more is missing changes nothing
		hint := ""
		if resp.StatusCode != http.StatusUnauthorized { // those have no record
			hint = "penstock explain " + resp.Header.Get("X-Request-Id")
		}
		return fail(exitUnreachable, hint, "%s", errorText(b, resp.StatusCode))
	}
	if err := a.printStream(resp.Body); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.err, a.paint(a.ttyErr, dim, fmt.Sprintf("%s answered. penstock explain %s",
		resp.Header.Get("X-Penstock-Target"), resp.Header.Get("X-Request-Id"))))
	return err
}

func errorText(body []byte, status int) string {
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		return fmt.Sprintf("The answer is %d, and no error that is understood", status)
	}
	return clean(e.Error.Message)
}

// printStream prints the text of an event stream, and fails unless it ends whole.
func (a *app) printStream(r io.Reader) error {
	err := readStream(r, func(text string) error {
		if a.tty {
			text = cleanText(text)
		}
		_, err := io.WriteString(a.out, text)
		return err
	})
	fmt.Fprintln(a.out)
	if err != nil {
		return fail(exitFailure, "the text so far is incomplete", "%s", clean(err.Error()))
	}
	return nil
}

// readStream hands the text of an event stream on, piece by piece. It gives an error unless the stream ends whole: the
// stream's own, if there is one in it.
func readStream(r io.Reader, piece func(text string) error) error {
	events := sse.NewScanner(r, 16<<20)
	defer events.Close()
	for {
		ev, err := events.Next()
		if err != nil {
			return fmt.Errorf("the stream broke off: %w", err)
		}
		if string(bytes.TrimSpace(ev.Data)) == "[DONE]" {
			return nil
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal(ev.Data, &chunk); err != nil {
			return fmt.Errorf("an event of the stream is not understood: %w", err)
		}
		if chunk.Error != nil {
			return errors.New(chunk.Error.Message)
		}
		for _, c := range chunk.Choices {
			if err := piece(c.Delta.Content); err != nil {
				return err
			}
		}
	}
}

// cleanText is clean, but keeps line breaks: model output may have lines and must not steer the terminal.
func cleanText(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = clean(l)
	}
	return strings.Join(lines, "\n")
}
