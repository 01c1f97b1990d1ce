package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/seal"
)

const (
	// sessionLife is how long one signing in lasts, however busy.
	sessionLife = 12 * time.Hour
	// sessionIdle is how long a session lasts in which nothing is opened. Live figures that a page fetches do not count.
	sessionIdle = 30 * time.Minute
	// sessionRenew is how old a session's time of last use may get before the cookie is sent anew.
	sessionRenew = time.Minute
	// maxCookie bounds what is looked at of a cookie that somebody sends.
	maxCookie = 1024
)

// A Session is one signing in. It is kept by the browser, sealed, bound to the key it was made with: of a key that is gone
// no session opens, and none of a key with the same id and another hash.
type Session struct {
	id     [16]byte // random: two sessions of one key are told apart
	token  [16]byte // random: what forms must hold to be taken
	issued time.Time
	seen   time.Time
}

// Token is what every form of the session carries.
func (s *Session) Token() string { return hex.EncodeToString(s.token[:]) }

// holds reports whether a form's token is the session's.
func (s *Session) holds(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.Token())) == 1
}

// lives reports whether the session's time is not over.
func (s *Session) lives(now time.Time) bool {
	return now.Sub(s.issued) < sessionLife && now.Sub(s.seen) < sessionIdle
}

const sessionSize = 16 + 16 + 8 + 8

func (s *Session) encode() []byte {
	b := make([]byte, 0, sessionSize)
	b = append(b, s.id[:]...)
	b = append(b, s.token[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.issued.Unix()))
	return binary.BigEndian.AppendUint64(b, uint64(s.seen.Unix()))
}

func decodeSession(b []byte) (s Session, ok bool) {
	if len(b) != sessionSize {
		return s, false
	}
	copy(s.id[:], b)
	copy(s.token[:], b[16:])
	s.issued = time.Unix(int64(binary.BigEndian.Uint64(b[32:])), 0)
	s.seen = time.Unix(int64(binary.BigEndian.Uint64(b[40:])), 0)
	return s, true
}

// sessions seals and opens sessions. Those that were signed out are remembered until they would have ended anyway, by this
// process; other replicas do not know of it, and there only the end of its time or of its key ends a stolen cookie.
type sessions struct {
	ring *seal.Ring
	now  func() time.Time
	name string // of the cookie

	over *overSet
}

type overSet struct {
	mu  sync.Mutex
	ids map[[16]byte]time.Time // when it would have ended
}

// newSessions names the cookie after the key ring, so that two consoles on one host do not sign each other out: cookies do
// not know ports.
func newSessions(ring *seal.Ring, now func() time.Time) sessions {
	sum := sha256.Sum256([]byte(ring.ID()))
	return sessions{ring: ring, now: now, name: "penstock-" + hex.EncodeToString(sum[:4]), over: &overSet{ids: map[[16]byte]time.Time{}}}
}

// begin makes a session.
func (s *sessions) begin() Session {
	now := s.now()
	out := Session{issued: now, seen: now}
	_, _ = rand.Read(out.id[:]) // ends the process rather than fail
	_, _ = rand.Read(out.token[:])
	return out
}

// bound is what a session is sealed for: one key as it was.
func bound(g *auth.Grant) []byte {
	return seal.Bind(nil, "console session", g.Key.ID, string(g.Key.Hash[:]))
}

// seal writes a session for the browser: the key's id, and the sealed rest.
func (s *sessions) seal(g *auth.Grant, session *Session) (string, error) {
	sealed, err := s.ring.Seal(nil, session.encode(), bound(g))
	if err != nil {
		return "", err
	}
	return g.Key.ID + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open reads what a browser sent. No session, for whatever reason, is a nil grant; an error is that keys cannot be checked.
func (s *sessions) open(keys *auth.Keys, value string) (*auth.Grant, Session, error) {
	id, text, ok := strings.Cut(value, ".")
	if !ok || len(value) > maxCookie {
		return nil, Session{}, nil
	}
	grant, err := keys.Holder(id)
	if err != nil {
		return nil, Session{}, unlessUnknown(err)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, Session{}, nil //nolint:nilerr // what is not a session of ours is none
	}
	plain, err := s.ring.Unseal(nil, sealed, bound(grant))
	if err != nil {
		return nil, Session{}, nil //nolint:nilerr // what is not a session of ours is none
	}
	session, ok := decodeSession(plain)
	if !ok || !session.lives(s.now()) || s.over.has(session.id) {
		return nil, Session{}, nil
	}
	return grant, session, nil
}

// end makes a session one that opens no more.
func (s *sessions) end(session *Session) {
	s.over.mu.Lock()
	defer s.over.mu.Unlock()
	now := s.now()
	for id, until := range s.over.ids {
		if now.After(until) {
			delete(s.over.ids, id)
		}
	}
	s.over.ids[session.id] = session.issued.Add(sessionLife)
}

func (o *overSet) has(id [16]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, over := o.ids[id]
	return over
}

// secure reports whether the browser speaks TLS with us, or with a proxy before us. Whoever lies about it harms only the
// cookie of their own.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// cookie makes the session's cookie; without a value it is one that removes it. Under TLS its name has the prefix with
// which browsers take it from nobody but this host.
func (s *sessions) cookie(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{
		Name: s.name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure(r),
		MaxAge: int(sessionLife / time.Second),
	}
	if c.Secure {
		c.Name = "__Host-" + c.Name
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// sent is the session that came with a request, "" if there is none. One that came with several counts as without: there
// is no telling who put the others there.
func (s *sessions) sent(r *http.Request) string {
	found := ""
	want := s.cookie(r, "").Name
	for _, c := range r.Cookies() {
		if c.Name != want {
			continue
		}
		if found != "" {
			return ""
		}
		found = c.Value
	}
	return found
}
