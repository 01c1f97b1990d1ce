package admin

import (
	"context"
	"io"
	"net/http"
	"time"
)

// A Backup is one that has begun.
type Backup struct {
	ID      string
	Keyring string // id of the ring that it takes to restore it
	Taken   time.Time
	Body    io.WriterTo // the file; an error means that it is not whole
	Close   func()      // gives up what it holds
}

// The headers that say what a backup is.
const (
	BackupID      = "X-Penstock-Backup"
	BackupKeyring = "X-Penstock-Keyring"
	BackupTaken   = "X-Penstock-Taken" // RFC 3339
)

// takeBackup gives a handler that writes the file. It ends cut off if the backup is not whole.
func (a *API) takeBackup(ctx context.Context, _ *call, _ Nothing) (http.Handler, error) {
	b, err := a.o.Backup(ctx)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer b.Close()
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set(BackupID, b.ID)
		h.Set(BackupKeyring, b.Keyring)
		h.Set(BackupTaken, b.Taken.Format(time.RFC3339Nano))
		if _, err := b.Body.WriteTo(&patientWriter{w, http.NewResponseController(w)}); err != nil {
			a.o.Log.Warn("a backup did not get to whoever asked for it", "backup", b.ID, "error", err)
			panic(http.ErrAbortHandler) // whoever reads it must not take it for whole
		}
	}), nil
}

// A patientWriter gives a client the time of exportWithin for each piece instead of for all.
type patientWriter struct {
	w io.Writer
	c *http.ResponseController
}

// Write implements [io.Writer].
func (p *patientWriter) Write(b []byte) (int, error) {
	p.more()
	return p.w.Write(b)
}

// more gives the client the time for another piece.
func (p *patientWriter) more() {
	_ = p.c.SetWriteDeadline(time.Now().Add(exportWithin)) // a test's recorder has none
	_ = p.c.SetReadDeadline(time.Time{})                   // that of the request would end its context
}
