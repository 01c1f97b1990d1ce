package admin_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/seal"
)

// No answer holds a key, a hash, a provider's credential, the pepper or a prompt: not to the admin, not to anybody. The one
// answer that holds a key is the one to whoever made it.
func TestNothingSecretLeaves(t *testing.T) {
	t.Parallel()
	const credential, prompt = "sk-canary-credential-0123456789abcdef", "canary prompt"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "credential"), []byte(credential), 0o600); err != nil {
		t.Fatal(err)
	}
	var log logged
	w := newWorld(t, penstocktest.Options{Dir: dir, Log: &log, Config: strings.Replace(penstocktest.Config,
		"sim-a: {", "sim-a: { credential: file:credential,", 1)})
	w.Price("sim-a/m")
	imported := sha256.Sum256([]byte("a key of another gateway"))
	w.makeKey(admin.KeyInput{Project: "home", Name: "imported", SHA256: hex.EncodeToString(imported[:])})
	ids := []string{w.exchange()}
	for _, m := range []string{"sim-a/x?status=503&leak=1", "sim-a/x?status=401&leak=1", "missing"} {
		ids = append(ids, w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(m, prompt, false)).ID())
	}
	secrets := map[string][]byte{"the credential": []byte(credential), "the prompt": []byte(prompt), "the admin key": []byte(w.AdminKey)}
	keyring := filepath.Join(dir, "data", "keyring.json")
	ring, _, err := seal.Open(keyring)
	if err != nil {
		t.Fatal(err)
	}
	for role, key := range w.keys {
		secrets["the key of the role "+string(role)] = []byte(key)
		sum := sha256.Sum256([]byte(key))
		secrets["the SHA-256 of the key of the role "+string(role)] = sum[:]
		kept := ring.Hash(key)
		secrets["the hash of the key of the role "+string(role)] = kept[:]
	}
	secrets["the imported hash"] = imported[:]
	secrets["the pepper"] = pepper(t, keyring)
	sinks := map[string]string{}
	for _, e := range admin.Endpoints() {
		if e.Method != http.MethodGet || e.Path == "/admin/v1/declaration" { // an export is there to hold hashes: admins only, and audited
			continue
		}
		for _, id := range ids {
			path := strings.Replace(e.Path, "{id}", id, 1)
			sinks["GET "+path] = w.call(http.MethodGet, path, w.AdminKey, "").body
		}
	}
	for _, path := range []string{"/admin/v1/usage?group_by=key,project,user,tag", "/admin/v1/keys?project=home", "/admin/v1/exchanges?status=error"} {
		sinks["GET "+path] = w.call(http.MethodGet, path, w.AdminKey, "").body
	}
	w.Stop()
	sinks["the log"] = log.String()
	for sink, text := range sinks {
		if len(text) < 10 {
			t.Errorf("%s is empty", sink)
		}
		for what, secret := range secrets {
			for form, written := range forms(secret) {
				if bytes.Contains([]byte(text), written) {
					t.Errorf("%s holds %s (%s)", sink, what, form)
				}
			}
		}
	}
}

// forms are the ways in which bytes are usually written.
func forms(secret []byte) map[string][]byte {
	return map[string][]byte{
		"as it is": secret, "hex": []byte(hex.EncodeToString(secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(secret))),
		"base64": []byte(strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "=")), "base64 for URLs": []byte(base64.RawURLEncoding.EncodeToString(secret)),
	}
}

// pepper finds the long random text in the key ring.
func pepper(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var longest string
	for _, part := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune("\"{}:,[] \n", r) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	if len(longest) < 32 {
		t.Fatalf("no pepper in %s", path)
	}
	return []byte(longest)
}
