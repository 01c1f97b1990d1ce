package responses

import (
	"bytes"
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An Upstream is what has to be known of a provider to pass a request of this dialect on to it.
type Upstream struct {
	Model        string // as the provider calls it
	ServiceTiers bool   // pass the class of service on
	// Reasons says that the model reasons: its reasoning is asked for in the form that it takes back, since the provider keeps none.
	Reasons bool
}

// AppendRequest appends the body for one try: the client's own, with the model's name as the provider has it. Nothing is to be kept
// at the provider, where all callers of a Penstock are one; what goes on from an earlier answer has it in its input. All other bytes
// are as the client sent them. adapted says that reasoning was left out that the vendor would refuse: that of other vendors' models,
// and what would have to be kept there.
func AppendRequest(dst []byte, r *llm.Request, u Upstream) (body []byte, adapted bool) {
	edits := make([]llm.Edit, 0, 5)
	if u.Model != r.Model {
		edits = append(edits, llm.Edit{Name: modelField, Value: rawjson.AppendQuoted(nil, u.Model)})
	}
	if store := string(r.Field(storeField)); store != "false" {
		edits = append(edits, llm.Edit{Name: storeField, Value: []byte("false")})
		if value := includeFor(r.Field("include")); u.Reasons && value != nil {
			edits = append(edits, llm.Edit{Name: "include", Value: value})
		}
	}
	if r.Field(previousField) != nil {
		edits = append(edits, llm.Edit{Name: previousField})
	}
	if !u.ServiceTiers && r.Field("service_tier") != nil {
		edits = append(edits, llm.Edit{Name: "service_tier"})
	}
	proven := provenItems(r.Field(inputField))
	if proven != nil {
		edits = append(edits, llm.Edit{Name: inputField, Value: proven})
	}
	return r.AppendBody(dst, edits...), proven != nil
}

// provenItems is an input without the reasoning that its vendor has not proven, nil if there is none, which is quick to see for most.
func provenItems(input []byte) []byte {
	if len(input) == 0 || input[0] != '[' || !bytes.Contains(input, []byte(`"`+reasoningItem+`"`)) {
		return nil
	}
	w := rawjson.Writer{Dst: append(make([]byte, 0, len(input)), '[')}
	lost := false
	c := rawjson.Cursor{Text: input}
	for range c.Elements() {
		item := c.Value()
		if o := rawjson.ObjectOf(item); o.Str(typeField) == reasoningItem {
			sent := o.Str(encryptedField)
			if by, _, _ := proofOf(sent); sent == "" || by != "" {
				lost = true
				continue
			}
		}
		w.Comma()
		w.Dst = append(w.Dst, item...)
	}
	if !lost {
		return nil
	}
	return append(w.Dst, ']')
}

// includeFor is what is to be included where reasoning is to be sent back, nil if it is asked for already.
func includeFor(sent []byte) []byte {
	all, _ := rawjson.StringsOf(sent)
	if slices.Contains(all, includeEncrypted) {
		return nil
	}
	w := rawjson.Writer{Dst: []byte{'['}}
	for _, s := range append(all, includeEncrypted) {
		w.Comma()
		w.Quoted(s)
	}
	return append(w.Dst, ']')
}
