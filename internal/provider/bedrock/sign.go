package bedrock

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
)

// service is the name of the service in signatures.
const service = "bedrock"

// Authorize is not how this vendor is shown a credential, but for its API keys: see Sign.
func (codec) Authorize(h http.Header, credential secret.String) {
	h["Authorization"] = []string{"Bearer " + credential.Reveal()}
}

// Sign signs a request with an access key, or shows an API key of Bedrock. An error says what is wrong with the credential and
// nothing of what it is.
func (c codec) Sign(req *http.Request, s provider.Settings, credential secret.String, now time.Time) error {
	keys, isKeys, err := accessKeys(credential.Reveal())
	switch {
	case err != nil:
		return err
	case !isKeys:
		c.Authorize(req.Header, credential)
		return nil
	case s.Region == "":
		return errors.New("the region that requests are signed for is not known")
	}
	sum, err := bodySum(req)
	if err != nil {
		return err
	}
	// The headers are of one request here and shared values elsewhere: the signer adds and sets, and changes none in place.
	return v4.NewSigner().SignHTTP(req.Context(), keys, req, sum, service, s.Region, now.UTC())
}

// bodySum is the hash of a request's body.
func bodySum(req *http.Request) (string, error) {
	hash := sha256.New()
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(hash, body); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// keyPair is an access key in one line: ID:SECRET or ID:SECRET:SESSION.
var keyPair = regexp.MustCompile(`^([A-Z0-9]{16,128}):([A-Za-z0-9/+=]{16,256})(?::(\S+))?$`)

// accessKeys reads a credential. It is an access key if it is in one line, or JSON in the form of the vendor's tools
// (AccessKeyId, SecretAccessKey, SessionToken; Token in that of instances). Anything else is an API key.
func accessKeys(text string) (keys aws.Credentials, ok bool, err error) {
	text = strings.TrimSpace(text)
	if m := keyPair.FindStringSubmatch(text); m != nil {
		return aws.Credentials{AccessKeyID: m[1], SecretAccessKey: m[2], SessionToken: m[3]}, true, nil
	}
	if !strings.HasPrefix(text, "{") {
		if !isToken(text) {
			return keys, false, errors.New("it is no access key (ID:SECRET or ID:SECRET:SESSION), no JSON with one, and no API key")
		}
		return keys, false, nil
	}
	var in struct{ AccessKeyID, SecretAccessKey, SessionToken, Token string }
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	if d.Decode(&in) != nil { // what is wrong would quote it
		return keys, false, errors.New("it begins as JSON and is none")
	}
	if in.SessionToken == "" {
		in.SessionToken = in.Token
	}
	if in.AccessKeyID == "" || in.SecretAccessKey == "" {
		return keys, false, fmt.Errorf("its JSON lacks %s", "AccessKeyId or SecretAccessKey")
	}
	return aws.Credentials{AccessKeyID: in.AccessKeyID, SecretAccessKey: in.SecretAccessKey, SessionToken: in.SessionToken}, true, nil
}

// isToken reports whether text can stand in a header behind "Bearer".
func isToken(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}
