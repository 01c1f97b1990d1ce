package config

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long a file must have been left alone before it counts as written.
	settleTime = 100 * time.Millisecond
	// pollTime is how often the file is looked at even if nothing was notified: network file systems notify of nothing,
	// and a link may lead to a directory that is not watched.
	pollTime = 2 * time.Second
)

// Watch calls changed whenever the content of the file at path has become another, until ctx ends; then it returns nil.
// It watches the directory, for editors and Kubernetes replace the file (or a link on the way to it) instead of writing
// into it. A file that is away for a moment is no change. changed is called by Watch itself, so no two calls overlap; a
// change meanwhile leads to another call.
func Watch(ctx context.Context, path string, changed func()) error {
	var events chan fsnotify.Event // without a watcher, polling must do
	if w, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = w.Close() }() // there is nobody to tell
		if err := w.Add(filepath.Dir(path)); err == nil {
			events = w.Events
		}
		go drain(ctx, w.Errors) // an overflow or a lost directory: polling sees what was missed
	}
	watch(ctx, path, events, changed)
	return nil
}

// drain ends with ctx or when the watcher is closed.
func drain(ctx context.Context, errs <-chan error) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-errs:
			if !ok {
				return
			}
		}
	}
}

func watch(ctx context.Context, path string, events <-chan fsnotify.Event, changed func()) {
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	quiet := time.NewTimer(settleTime)
	quiet.Stop()
	content, seen := fingerprint(path), stamp(path)
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if concerns(e, path) {
				quiet.Reset(settleTime)
			}
		case <-poll.C:
			if now := stamp(path); now != seen {
				seen = now
				quiet.Reset(settleTime)
			}
		case <-quiet.C:
			if now := fingerprint(path); now != nil && (content == nil || *now != *content) {
				content = now
				changed()
			}
		}
	}
}

// concerns reports whether an event may mean that the file is another. "..data" is the link that Kubernetes swaps.
func concerns(e fsnotify.Event, path string) bool {
	name := filepath.Base(e.Name)
	return e.Op != fsnotify.Chmod && (name == filepath.Base(path) || name == "..data")
}

// fingerprint tells contents apart; nil if there is nothing to read.
func fingerprint(path string) *[sha256.Size]byte {
	b, err := readFile(path)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(b)
	return &sum
}

// A stamped is what can be known of a file without reading it.
type stamped struct {
	size     int64
	modified time.Time
}

func stamp(path string) stamped {
	info, err := os.Stat(path)
	if err != nil {
		return stamped{}
	}
	return stamped{info.Size(), info.ModTime()}
}
