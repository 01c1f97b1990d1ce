package auth

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

const (
	// keyStart begins every key that is made here, so that scanners for leaked secrets can find them.
	keyStart = "psk_"
	// shownChars is how much of a key's random part its prefix shows: 35 of 256 bits.
	shownChars = 6
	// alphabet has no characters that a person mistakes for one another: no 0 and O, no I and l.
	alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	// randomChars hold 256 bits in the alphabet: 58^44 is more than 2^257.
	randomChars = 44

	// Keys of other gateways can be taken over, so a presented key may be any bearer token of a reasonable length.
	minKeyLen, maxKeyLen = 16, 256
)

// NewKey makes a key of 256 random bits, and its prefix, which may be shown and says which key is meant.
func NewKey() (secret, prefix string) {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails: the program ends first
	n, rest := new(big.Int).SetBytes(bits[:]), new(big.Int)
	base := big.NewInt(int64(len(alphabet)))
	var text [randomChars]byte
	for i := range text {
		n.DivMod(n, base, rest)
		text[len(text)-1-i] = alphabet[rest.Int64()]
	}
	secret = keyStart + string(text[:])
	return secret, secret[:len(keyStart)+shownChars]
}

// sumPrefix is the prefix of a key of which only the SHA-256 is known.
func sumPrefix(sum [32]byte) string { return "sha256:" + hex.EncodeToString(sum[:4]) }

// HashPrefix is the prefix of a key of which only the hash is known that the store has.
func HashPrefix(h Hash) string { return "key " + hex.EncodeToString(h[:4]) }

// prefixes is what the prefix of a key may look like: of one of ours, of one taken over, of one from an export without it.
var prefixes = regexp.MustCompile("^(?:" + keyStart + "[" + alphabet + "]{" + strconv.Itoa(shownChars) + "}|(?:sha256:|key )[0-9a-f]{8})$")

// IsPrefix tells whether a text has the form of a key's prefix.
func IsPrefix(text string) bool { return prefixes.MatchString(text) }

// inToken are the characters that a bearer token may have (RFC 6750).
var inToken = func() (in [256]bool) {
	for c := range in {
		b := byte(c)
		in[c] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-._~+/=", b) >= 0
	}
	return in
}()

// malformed finds the first byte of a presented key that no key has; -1 if there is none.
func malformed(presented string) int {
	for i := range len(presented) {
		if !inToken[presented[i]] {
			return i
		}
	}
	return -1
}

// shown is as much of a presented key as may be quoted back: the prefix of one of ours, else at most a quarter of it.
func shown(presented string) string {
	if strings.HasPrefix(presented, keyStart) && len(presented) >= len(keyStart)+randomChars {
		return presented[:len(keyStart)+shownChars] + "..."
	}
	return presented[:min(4, len(presented)/4)] + "..."
}
