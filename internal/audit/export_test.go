package audit

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
)

// export writes and reads an export back.
func export(t *testing.T, key ed25519.PrivateKey, all []Entry, head Head, f Filter) []byte {
	t.Helper()
	var b bytes.Buffer
	x, err := NewExporter(&b, NewExportHead(day, head, f))
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := x.Add(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.End(key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readBack(text []byte, keys ...ed25519.PublicKey) (n int, err error) {
	m, err := NewImport(bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	v, err := NewVerifier(Head{Chain: m.Head.Head.Chain}, nil)
	if err != nil {
		return 0, err
	}
	for {
		e, err := m.Next()
		if err != nil {
			return n, err
		}
		if e == nil {
			if err := m.End.Verify(keys...); err != nil {
				return n, err
			}
			return n, v.End(m.Head.Head)
		}
		if !m.Head.Whole() {
			v.Skip(e)
		}
		if err := v.Next(e); err != nil {
			return n, err
		}
		n++
	}
}

func TestExportsAreReadBack(t *testing.T) {
	t.Parallel()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	all, head := chainOf(t, "chain_1", 20)
	whole := export(t, key, all, head, Filter{})
	if n, err := readBack(whole, public); err != nil || n != 20 {
		t.Error(n, err)
	}
	if _, err := readBack(whole, other); err == nil {
		t.Error("signed with another key")
	}
	part := append(append([]Entry{}, all[3:5]...), all[9], all[17])
	if n, err := readBack(export(t, key, part, head, Filter{Object: "x", From: day}), public); n != 4 || err == nil {
		t.Error(n, err) // the head was not come to: whoever reads a part does not ask for it
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for name, text := range map[string]string{
		"no last line":        strings.Join(lines[:21], ""),
		"a line too few":      strings.Join(append(append([]string{}, lines[:20]...), lines[21]), ""),
		"something behind":    string(whole) + "x",
		"an altered head":     strings.Replace(string(whole), "2026-11-24", "2026-11-25", 1),
		"half a line":         string(whole[:len(whole)/2]),
		"no head":             strings.Join(lines[1:], ""),
		"nothing":             "",
		"an altered entry":    strings.Replace(string(whole), `"object":"key_7"`, `"object":"key_8"`, 1),
		"a forged signature":  strings.Replace(string(whole), `"signature":"`, `"signature":"AAAA`, 1),
		"another line's form": strings.Replace(string(whole), `"actor":{`, `"actor": {`, 1),
	} {
		if _, err := readBack([]byte(text), public); err == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
}

func FuzzImport(f *testing.F) {
	all, head := chainOf(f, "chain_1", 2)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	x, err := NewExporter(&b, NewExportHead(day, head, Filter{}))
	if err != nil {
		f.Fatal(err)
	}
	for i := range all {
		_ = x.Add(&all[i]) // a buffer takes everything
	}
	_ = x.End(key)
	f.Add(b.Bytes())
	f.Add([]byte("{\"format\":\"penstock-audit-1\"}\n{\"entries\":0}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := readBack(text); err == nil {
			t.Error("an export without a key that has signed it")
		}
	})
}
