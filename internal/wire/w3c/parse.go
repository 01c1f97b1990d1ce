package w3c

import "strings"

// parseParent reads a traceparent: VERSION-TRACE-SPAN-FLAGS, in lower-case hexadecimal digits. Of versions later than 00,
// which may go on behind the flags, the part that 00 knows is read.
func parseParent(s string) (c Context, ok bool) {
	const size = 55
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return c, false
	}
	version, ok := octet(s[0:2])
	switch {
	case !ok || version == 0xff:
		return c, false
	case len(s) > size && (version == 0 || s[size] != '-'):
		return c, false
	}
	flags, ok := octet(s[53:55])
	if !ok || !digits(c.Trace[:], s[3:35]) || !digits(c.Span[:], s[36:52]) {
		return Context{}, false
	}
	c.Flags = Flags(flags) & (Sampled | Random)
	return c, true
}

// digits fills id from exactly as many lower-case hexadecimal digits as it holds. All zero is no id.
func digits(id []byte, s string) bool {
	if len(s) != 2*len(id) {
		return false
	}
	var bits byte
	for i := range id {
		b, ok := octet(s[2*i : 2*i+2])
		if !ok {
			return false
		}
		id[i] = b
		bits |= b
	}
	return bits != 0
}

func octet(s string) (b byte, ok bool) {
	high, low := nibble(s[0]), nibble(s[1])
	return high<<4 | low, high < 16 && low < 16
}

// nibble is 16 for what is no lower-case hexadecimal digit.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// maxMembers is how many members a tracestate may have.
const maxMembers = 32

// parseState reads a tracestate and writes it in its shortest form; "" if it is wrong. Members that do not fit into
// MaxState are left away: those to the right, which were written first.
func parseState(s string) string {
	if len(s) > 32<<10 {
		return ""
	}
	var kept []string
	keys := make(map[string]bool, 4)
	size := 0
	for member := range strings.SplitSeq(s, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		key, value, found := strings.Cut(member, "=")
		if !found || !isKey(key) || !isValue(value) || keys[key] || len(keys) == maxMembers {
			return ""
		}
		keys[key] = true
		size += len(member) + 1
		if size-1 <= MaxState {
			kept = append(kept, member)
		}
	}
	return strings.Join(kept, ",")
}

// isKey follows the second level of the specification: 1 to 256 characters, a letter or digit first.
func isKey(s string) bool {
	if s == "" || len(s) > 256 || strings.IndexByte("_-*/@", s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("_-*/@", c) < 0 {
			return false
		}
	}
	return true
}

// isValue wants 1 to 256 printable characters but comma and equals sign, and no space at the end.
func isValue(s string) bool {
	if s == "" || len(s) > 256 || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == ',' || c == '=' {
			return false
		}
	}
	return true
}
