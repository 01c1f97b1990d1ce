package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const checkpointDomain = "penstock audit checkpoint v1\n"

// A Checkpoint is a signed statement that a chain went so far at a time. Kept where whoever can write the store cannot,
// it shows that the end of the chain was cut off, that it was made anew, or that another store is in its place.
type Checkpoint struct {
	Chain     string    `json:"chain"`
	Seq       int64     `json:"seq"` // the last entry at the time
	Hash      Hash      `json:"hash"`
	Time      time.Time `json:"time"` // UTC, in microseconds
	Key       string    `json:"key"`  // which key has signed: see [KeyID]
	Signature string    `json:"signature"`
}

// KeyID names a public key by its hash: "ed25519:" and 16 hex digits.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return "ed25519:" + hex.EncodeToString(sum[:8])
}

// Sign makes the checkpoint of a head.
func Sign(head Head, at time.Time, key ed25519.PrivateKey) Checkpoint {
	public, _ := key.Public().(ed25519.PublicKey) // that of an Ed25519 key is one
	c := Checkpoint{Chain: head.Chain, Seq: head.Seq, Hash: head.Hash, Time: at.UTC().Truncate(time.Microsecond), Key: KeyID(public)}
	c.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, c.message()))
	return c
}

// source says where the knowledge is from: one without a signature is what this process has seen itself.
func (c *Checkpoint) source() string {
	at := c.Time.UTC().Format("2006-01-02 15:04:05 UTC")
	if c.Signature == "" {
		return "the verification of " + at
	}
	return "the checkpoint of " + at
}

// message is what is signed.
func (c *Checkpoint) message() []byte {
	b := field([]byte(checkpointDomain), jsontext.Value(c.Chain))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Seq))
	b = append(b, c.Hash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(c.Time.UnixMicro()))
}

// Verify says whether one of the keys has signed the checkpoint.
func (c *Checkpoint) Verify(keys ...ed25519.PublicKey) error {
	signature, err := base64.StdEncoding.DecodeString(c.Signature)
	if err != nil {
		return broken(c.Seq, "the checkpoint of entry %d has a signature that is not base64", c.Seq)
	}
	for _, k := range keys {
		if KeyID(k) != c.Key {
			continue
		}
		if ed25519.Verify(k, c.message(), signature) {
			return nil
		}
		return broken(c.Seq, "the checkpoint of entry %d was altered: its signature is not that of its content", c.Seq)
	}
	return fmt.Errorf("the checkpoint of entry %d was signed with %s, which is none of the keys given", c.Seq, c.Key)
}
