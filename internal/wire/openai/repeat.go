package openai

import (
	"bytes"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/llm"
)

// A ChunkScanner scans the events of one stream. In most of them nothing but the text is another than in the event before,
// and what such an event says is known without parsing it again, which is a tenth of what a stream costs. The zero
// ChunkScanner is ready.
type ChunkScanner struct {
	// Of the last event that was parsed, what stands before its text and behind it, quotes included, and what it said; empty
	// if it was another event than one that adds a single text and nothing else.
	before, after []byte
	said          llm.Event
	long          int // its text, in bytes
	misses        int // in a row
}

const (
	// enough is after how many events in a row that were not as the one before no more are compared: there are servers that
	// put something else into each.
	enough = 8
	// longest is the longest event that is kept to compare the next with, in bytes.
	longest = 4 << 10
)

// Scan is [ScanChunk] for the next event of the stream.
func (c *ChunkScanner) Scan(data []byte, ev *llm.Event, text []byte, meta *llm.Meta) error {
	if c.misses >= enough {
		return ScanChunk(data, ev, text, meta)
	}
	if added := c.between(data); added != nil {
		c.misses = 0
		*ev = c.said
		ev.Raw, ev.Text = data, append(text, added...)[len(text):]
		if ev.ModelAt.Start > len(c.before) { // it has moved with what stands behind the text
			ev.ModelAt.Start += len(added) - c.long
			ev.ModelAt.End += len(added) - c.long
		}
		return nil
	}
	c.misses++
	s, err := scanChunk(data, ev, text, meta)
	c.learn(data, ev, &s, err)
	return err
}

// between is the text of an event that is as the last one otherwise, nil if it is not. It is the same within JSON and decoded.
func (c *ChunkScanner) between(data []byte) []byte {
	if len(c.before) == 0 || len(data) <= len(c.before)+len(c.after) || !bytes.HasPrefix(data, c.before) || !bytes.HasSuffix(data, c.after) {
		return nil
	}
	added := data[len(c.before) : len(data)-len(c.after)]
	for _, b := range added {
		if b < ' ' || b == '"' || b == '\\' {
			return nil
		}
	}
	if !utf8.Valid(added) {
		return nil
	}
	return added
}

// learn takes an event that was parsed for the one before the next.
func (c *ChunkScanner) learn(data []byte, ev *llm.Event, s *scan, err error) {
	c.before = c.before[:0]
	if err != nil || len(data) > longest || ev.Has != llm.Content || s.texts != 1 || s.lastText.End-s.lastText.Start != len(ev.Text)+len(`""`) {
		return
	}
	c.before = append(c.before, data[:s.lastText.Start+1]...)
	c.after = append(c.after[:0], data[s.lastText.End-1:]...)
	c.said, c.long = *ev, len(ev.Text)
	c.said.Raw, c.said.Text = nil, nil // they are somebody else's
}
