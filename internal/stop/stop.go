// Package stop is the switch that ends the use of a model, of a project or of everything, on all replicas at once: for an
// incident, a bill that runs away, a model that must not be used any more.
//
// A stop lies in the store. A [Board] on each replica knows those in force from a look at the store's version each second,
// so that it needs no message from another replica; it refuses new exchanges and new tries, and ends running ones where
// the stop says so. While the store does not answer, the stops that are known stay in force, and after a few seconds all
// is refused: a stop that was made meanwhile could not be known.
//
// The package holds no HTTP and no roles: admin and auth say who may stop.
package stop

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// A Stop says what is not served. With neither model nor project nothing is; with both, only that model to that project.
type Stop struct {
	ID string
	// Model is a glob (* stands for anything) on the name that is asked for, and on the target that would answer, as
	// PROVIDER/MODEL or as MODEL; "" is every model.
	Model   string
	Project string // id; "" is every project
	Reason  string // callers are told; "" if none was given
	ByKey   string // id of the key of whoever made it
	ByName  string
	Since   time.Time
	Until   time.Time // zero: until it is lifted
	Cut     bool      // exchanges that run are ended as well
}

// InForce reports whether the stop holds at the instant.
func (s *Stop) InForce(now time.Time) bool { return s.Until.IsZero() || now.Before(s.Until) }

// Scope says what is stopped, without the name of a project.
func (s *Stop) Scope() string {
	switch {
	case s.Model == "" && s.Project == "":
		return "all"
	case s.Project == "":
		return "model " + s.Model
	case s.Model == "":
		return "project " + s.Project
	}
	return "model " + s.Model + " for project " + s.Project
}

// asks reports whether the stop is about what is asked for, whichever target would answer.
func (s *Stop) asks(project, model string) bool {
	return (s.Project == "" || s.Project == project) && (s.Model == "" || llm.MatchName(s.Model, model))
}

// uses reports whether the stop is about a target.
func (s *Stop) uses(project string, t llm.Target) bool {
	return (s.Project == "" || s.Project == project) &&
		(s.Model == "" || llm.MatchName(s.Model, t.Model) || llm.MatchName(s.Model, t.String()))
}

// Store is what stop needs to have kept. Each method is one transaction, and an entry of the audit chain if it changes
// something.
type Store interface {
	// SetStop makes a stop. If there is one of the same model and project, that one keeps its id and beginning and takes
	// over the rest. It is a fault InvalidRequest if there are max already. Stops that are over are forgotten.
	SetStop(ctx context.Context, s Stop, most int) (Stop, error)
	// LiftStop ends a stop, which it returns. It is a fault NotThere if there is none.
	LiftStop(ctx context.Context, id string) (Stop, error)
	// StopVersion grows with every change of a stop.
	StopVersion(ctx context.Context) (int64, error)
	// Stops reads all stops, those that are over too, the oldest first, of one version.
	Stops(ctx context.Context) (version int64, all []Stop, err error)
}

// Bounds of what may be said.
const (
	most      = 200 // stops at a time: each exchange is held against all
	maxModel  = 128 // bytes
	maxReason = 200 // characters
	maxFor    = 366 * 24 * time.Hour
)

// check says what is wrong with a stop that is to be made.
func check(s *Stop, span time.Duration) error {
	bad := func(param, hint, format string, args ...any) error {
		f := fault.New(fault.InvalidRequest, format, args...)
		f.Param, f.Hint = param, hint
		return f
	}
	unseen := func(text string) bool {
		return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	switch {
	case len(s.Model) > maxModel || unseen(s.Model) || strings.ContainsAny(s.Model, " ,"):
		return bad("model", "Write a model's name, or PROVIDER/MODEL; * stands for any characters, as in openai/*.",
			"model: %s is not the name of a model.", quote(s.Model))
	case s.Model == "*" && s.Project == "":
		return bad("model", "Say it in words: all.", "model: * stops everything.")
	case utf8.RuneCountInString(s.Reason) > maxReason || unseen(s.Reason):
		return bad("reason", "", "reason: write one line of at most %d characters that can be seen.", maxReason)
	case span < 0 || span > maxFor:
		return bad("for", "Leave it out for a stop that holds until it is lifted.", "for: write a time of at most %d days, such as 1h.", maxFor/(24*time.Hour))
	}
	return nil
}

// quote writes what was sent so that it is seen whole and harmless, and not at any length.
func quote(s string) string {
	if len(s) > maxModel {
		s = s[:maxModel] + "..."
	}
	return fmt.Sprintf("%q", s)
}
