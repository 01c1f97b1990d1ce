package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Sink takes checkpoints, each a line of JSON with its newline. It returns when the line is safe.
type Sink interface {
	Put(ctx context.Context, line []byte) error
}

// A fileSink appends to the file of that name.
type fileSink string

func (s fileSink) Put(_ context.Context, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(string(s)), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(string(s), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// execWithin bounds one run of a command that takes a checkpoint.
const execWithin = 30 * time.Second

// An execSink runs a command, a name and its arguments, with the line on its standard input.
type execSink []string

func (s execSink) Put(ctx context.Context, line []byte) error {
	ctx, cancel := context.WithTimeout(ctx, execWithin)
	defer cancel()
	c := exec.CommandContext(ctx, s[0], s[1:]...)
	c.Stdin = bytes.NewReader(line)
	c.WaitDelay = time.Second // for children of it that keep its output open
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", s[0], err, plain(string(bytes.TrimSpace(out))))
	}
	return nil
}

// ReadCheckpoints reads checkpoints, a line each, and gives the last most of them: each confirms all entries before it, so
// that older ones only help to say where a chain was made anew. A last line without its end is what a killed process left,
// and is no error.
func ReadCheckpoints(r io.Reader, most int) ([]Checkpoint, error) {
	var all []Checkpoint
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var c Checkpoint
		if err := json.Unmarshal(line, &c, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("line %d is no checkpoint: %w", n, err)
		}
		if all = append(all, c); len(all) >= 2*most {
			all = append(all[:0], all[len(all)-most:]...)
		}
	}
}

// ReadCheckpointFile is ReadCheckpoints of a file. Errors are [fault.Problem], or match [fs.ErrNotExist].
func ReadCheckpointFile(path string, most int) ([]Checkpoint, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.Problem{Path: path, Text: "cannot be read: " + err.Error()}
	}
	defer f.Close()
	points, err := ReadCheckpoints(f, most)
	if err != nil {
		return nil, fault.Problem{Path: path, Text: err.Error(), Hint: "put the file back as it was written; it holds one checkpoint a line"}
	}
	return points, nil
}

const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
)

// OpenKey reads the private key at path, or makes one there (mode 0600). Errors are [fault.Problem].
func OpenKey(path string) (ed25519.PrivateKey, error) {
	text, err := seal.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = makeKey(); err == nil {
			err = seal.CreatePrivate(path, text)
		}
		if errors.Is(err, fs.ErrExist) { // another replica was quicker: its key is ours
			text, err = seal.ReadPrivate(path)
		}
	}
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == privateBlock {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if k, ok := key.(ed25519.PrivateKey); ok && err == nil {
			return k, nil
		}
	}
	return nil, fault.Problem{Path: path, Text: "is not an Ed25519 private key in PEM", Hint: "put it back from its backup; if it is lost, remove the file and a new one is made"}
}

func makeKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), err
}

// PublicPEM writes a public key the way that other programs read it.
func PublicPEM(public ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err) // there is no Ed25519 key that it does not write
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}))
}

// ParsePublic reads public keys in PEM, one or several.
func ParsePublic(text []byte) (keys []ed25519.PublicKey, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		k, ok := key.(ed25519.PublicKey)
		if err != nil || !ok || block.Type != publicBlock {
			return nil, errors.New("a block of it is not an Ed25519 public key")
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no public key in PEM")
	}
	return keys, nil
}
