package usage

import (
	"encoding/binary"

	"github.com/penstock/penstock/internal/llm"
)

func appendUsage(b []byte, u llm.Usage) []byte {
	b = appendInt(b, u.Input)
	b = appendInt(b, u.Output)
	b = appendInt(b, u.CachedInput)
	b = appendInt(b, u.CacheWrite)
	b = appendInt(b, u.Reasoning)
	b = append(b, flags(u.Estimated, u.Parts != llm.Parts{}))
	if u.Parts != (llm.Parts{}) {
		b = appendParts(b, &u.Parts)
	}
	return b
}

// appendParts appends which parts are not 0, and those. More of them need another version of entries.
func appendParts(b []byte, p *llm.Parts) []byte {
	all := p.All()
	given := uint64(0)
	for i, n := range all {
		if *n != 0 {
			given |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, given)
	for _, n := range all {
		if *n != 0 {
			b = appendInt(b, *n)
		}
	}
	return b
}

func (d *decoder) usage() llm.Usage {
	u := llm.Usage{Input: d.int(), Output: d.int(), CachedInput: d.int(), CacheWrite: d.int(), Reasoning: d.int()}
	bits := d.byte()
	if u.Estimated = bits&1 != 0; d.made > wholesVersion && bits&2 != 0 {
		d.parts(&u.Parts)
	}
	return u
}

// parts is the inverse of appendParts.
func (d *decoder) parts(p *llm.Parts) {
	given, all := d.uint(), p.All()
	if given>>len(all) != 0 {
		d.fail(errGarbled)
		return
	}
	for i, n := range all {
		if given&(1<<i) != 0 {
			*n = d.int()
		}
	}
}
