package audit

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/go-json-experiment/json"
)

// exportDomain keeps the signature of an export from being taken for another.
const exportDomain = "penstock audit export v1\n"

// An ExportHead is the first line of an export. The lines behind it are entries, the oldest first; the last is an
// [ExportEnd].
type ExportHead struct {
	Format  string     `json:"format"` // ExportFormat
	Time    time.Time  `json:"time"`
	Head    Head       `json:"head"` // the end of the chain when the export began
	Actor   string     `json:"actor,omitzero"`
	Action  Action     `json:"action,omitzero"`
	Object  string     `json:"object,omitzero"`
	Project string     `json:"project,omitzero"`
	From    *time.Time `json:"from,omitzero"`
	To      *time.Time `json:"to,omitzero"`
}

// ExportFormat names the format of exports.
const ExportFormat = "penstock-audit-1"

// NewExportHead describes an export of what the filter selects.
func NewExportHead(at time.Time, head Head, f Filter) ExportHead {
	h := ExportHead{Format: ExportFormat, Time: at.UTC(), Head: head, Actor: f.Actor, Action: f.Action, Object: f.Object, Project: f.Project}
	for _, t := range []struct {
		from time.Time
		to   **time.Time
	}{{f.From, &h.From}, {f.To, &h.To}} {
		if !t.from.IsZero() {
			*t.to = &t.from
		}
	}
	return h
}

// Filter is what the export selects, for the entry that says that it was made; nil for the whole chain.
func (h *ExportHead) Filter() any {
	if h.Whole() {
		return nil
	}
	return struct {
		Actor   string     `json:"actor,omitzero"`
		Action  Action     `json:"action,omitzero"`
		Object  string     `json:"object,omitzero"`
		Project string     `json:"project,omitzero"`
		From    *time.Time `json:"from,omitzero"`
		To      *time.Time `json:"to,omitzero"`
	}{h.Actor, h.Action, h.Object, h.Project, h.From, h.To}
}

// Whole reports whether the export is of the whole chain.
func (h *ExportHead) Whole() bool {
	return h.Actor == "" && h.Action == "" && h.Object == "" && h.Project == "" && h.From == nil && h.To == nil
}

// An ExportEnd is the last line of an export. An export without it is not whole.
type ExportEnd struct {
	Entries   int64  `json:"entries"`
	SHA256    Hash   `json:"sha256"` // of all bytes before this line
	Key       string `json:"key"`
	Signature string `json:"signature"`
}

// An Exporter writes an export.
type Exporter struct {
	w       io.Writer
	sum     hash.Hash
	entries int64
}

// NewExporter begins an export with its first line.
func NewExporter(w io.Writer, h ExportHead) (*Exporter, error) {
	x := &Exporter{w: w, sum: sha256.New()}
	return x, x.line(h)
}

func (x *Exporter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	_, _ = x.sum.Write(text) // a hash takes everything
	_, err = x.w.Write(text)
	return err
}

// Add writes an entry.
func (x *Exporter) Add(e *Entry) error {
	x.entries++
	return x.line(e)
}

// End writes the last line.
func (x *Exporter) End(key ed25519.PrivateKey) error {
	public, _ := key.Public().(ed25519.PublicKey) // that of an Ed25519 key is one
	end := ExportEnd{Entries: x.entries, SHA256: Hash(x.sum.Sum(nil)), Key: KeyID(public)}
	end.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, append([]byte(exportDomain), end.SHA256[:]...)))
	return x.line(end)
}

// An Import reads an export back.
type Import struct {
	Head ExportHead
	End  ExportEnd // after the last entry
	r    *bufio.Reader
	sum  hash.Hash
	line int
	n    int64
}

// NewImport reads the first line.
func NewImport(r io.Reader) (*Import, error) {
	m := &Import{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	text, err := m.next()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &m.Head); err != nil || m.Head.Format != ExportFormat {
		return nil, errors.New("line 1: it is not an export of an audit chain")
	}
	_, _ = m.sum.Write(text) // a hash takes everything
	return m, nil
}

// next reads a line. The end of the file is an error: an export ends with a line that says so.
func (m *Import) next() ([]byte, error) {
	text, err := m.r.ReadBytes('\n')
	m.line++
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: the file ends here, and not with the last line of an export: it is not whole", m.line)
	}
	return text, err
}

// Next reads an entry, nil after the last; what the last line says of the file holds then, but for its signature.
func (m *Import) Next() (*Entry, error) {
	before := Hash(m.sum.Sum(nil))
	text, err := m.next()
	if err != nil {
		return nil, err
	}
	var line struct {
		Entry
		Entries *int64 `json:"entries"` // only the last line has it
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, fmt.Errorf("line %d: it is no entry: %w", m.line, err)
	}
	if line.Entries == nil {
		_, _ = m.sum.Write(text) // a hash takes everything
		m.n++
		return &line.Entry, nil
	}
	return nil, m.end(text, before)
}

func (m *Import) end(text []byte, before Hash) error {
	if err := json.Unmarshal(text, &m.End); err != nil {
		return fmt.Errorf("line %d: it is not the last line of an export: %w", m.line, err)
	}
	switch _, err := m.r.ReadByte(); {
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("line %d: something stands behind the last line of the export", m.line+1)
	case m.End.Entries != m.n:
		return fmt.Errorf("the export had %d entries when it was signed, and has %d", m.End.Entries, m.n)
	case m.End.SHA256 != before:
		return errors.New("the file is not as it was signed, though its entries may be")
	}
	return nil
}

// Verify says whether one of the keys has signed the export.
func (e *ExportEnd) Verify(keys ...ed25519.PublicKey) error {
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	for _, k := range keys {
		if err == nil && KeyID(k) == e.Key && ed25519.Verify(k, append([]byte(exportDomain), e.SHA256[:]...), signature) {
			return nil
		}
	}
	return fmt.Errorf("the export is signed with %s, and not with a key that was given", e.Key)
}
