package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/store"
)

// data looks at the data directory.
func (e *exam) data(context.Context) {
	dir := e.cfg.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.add(OK, "data", "", "%s is not there yet; the first start makes it", dir)
	case err != nil:
		e.add(Fail, "data", "let the user that runs Penstock reach it", "%v", err)
	case !info.IsDir():
		e.add(Fail, "data", "name a directory with --data or data in the file", "%s is no directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		e.add(Fail, "data", "chmod 700 "+dir, "%s can be written by others (mode %04o): they could put their own key there", dir, info.Mode().Perm())
	case info.Mode().Perm()&0o005 != 0:
		e.add(Warn, "data", "chmod 700 "+dir, "%s can be listed by others (mode %04o)", dir, info.Mode().Perm())
	default:
		e.add(OK, "data", "", "%s, mode %04o", dir, info.Mode().Perm())
	}
}

// private looks at a file that only its owner may read.
func (e *exam) private(check, path, absent string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.add(OK, check, "", "%s is not there: %s", path, absent)
	case err != nil:
		e.add(Fail, check, "let the user that runs Penstock read it", "%v", err)
	case info.Mode().Perm()&0o027 != 0:
		e.add(Fail, check, "chmod 600 "+path+", and make another if others may have read it", "%s can be read or written by others (mode %04o)", path, info.Mode().Perm())
	case info.Size() == 0:
		e.add(Fail, check, "put it back from your copy", "%s is empty", path)
	default:
		e.add(OK, check, "", "%s, mode %04o", path, info.Mode().Perm())
	}
}

func (e *exam) adminKey(context.Context) {
	e.private("admin key", e.cfg.AdminKeyPath(), "the first start makes it, or the store has one that was made elsewhere")
}

func (e *exam) keyring(context.Context) {
	path := e.cfg.KeyringPath()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && e.cfg.StorePath() != "" {
		if _, err := os.Stat(e.cfg.StorePath()); err == nil {
			e.add(Fail, "keyring", "put it back from your copy; without it no key can be checked", "%s is not there, and the store is", path)
			return
		}
	}
	e.private("keyring", path, "the first start makes it, with a new store")
}

// maxOffset is how far clocks may be apart.
const maxOffset = time.Second

func (e *exam) store(ctx context.Context) {
	g, err := store.Glance(ctx, e.cfg.Store, e.cfg.StoreOptions())
	if err != nil {
		hint := "check the path, and that the user that runs Penstock may read it"
		if g.Engine == "PostgreSQL" {
			hint = "check that the server runs, its address, store_password and pg_hba.conf; Penstock waits for it and answers 503 until then"
		}
		e.add(Fail, "store", hint, "%s %s cannot be read: %v", g.Engine, g.Path, err)
		return
	}
	size := fmt.Sprintf("%s, %s, %d MB", g.Engine, g.Path, g.Bytes/1e6)
	switch {
	case !g.There:
		e.add(OK, "store", "", "%s, %s: new; the first start makes it", g.Engine, g.Path)
	case g.Schema > g.Knows:
		e.add(Warn, "store", "use the newer version for commands too", "%s: schema %d, this version knows %d", size, g.Schema, g.Knows)
	case g.Schema < g.Knows:
		e.add(Warn, "store", "the next start of this version migrates it; take a backup before", "%s: schema %d, this version has %d", size, g.Schema, g.Knows)
	default:
		e.add(OK, "store", "", "%s, schema %d", size, g.Schema)
	}
	if g.Waiting > 0 {
		e.add(Warn, "store", "look at pg_locks and pg_stat_activity for who holds them", "%d sessions wait for a lock", g.Waiting)
	}
	if g.Losable != "" {
		e.add(Warn, "store", "set it on; see docs/postgresql.md, Durability", "%s on the server: a crash of it may lose records, keys and audit entries that it has confirmed", g.Losable)
	}
	if g.Engine == "PostgreSQL" {
		e.clock("the database's clock", g.Offset, g.Within)
	}
}

// clock says how another clock differs from ours.
func (e *exam) clock(whose string, offset, within time.Duration) {
	if offset.Abs() > maxOffset+within {
		e.add(Fail, "clock", "start a time service here and there (chrony, systemd-timesyncd): ends of days, expiries and the order of records hang on it",
			"%s and this machine's differ by %s", whose, figure.Duration(offset.Abs().Round(time.Millisecond)))
		return
	}
	e.add(OK, "clock", "", "%s and this machine's agree within %s", whose, figure.Duration((offset.Abs() + within).Round(time.Millisecond)))
}

// fewFiles is the limit on open files from which nobody has to think of it.
const fewFiles = 65536

func (e *exam) files(context.Context) {
	switch n := server.FileLimit(); {
	case n == 0:
		e.add(Skip, "files", "", "the limit on open files is not known here")
	case n < fewFiles:
		e.add(Warn, "files", "LimitNOFILE=65536 in the systemd unit or ulimit -n 65536, then restart",
			"limit %d allows about %d open streams: each takes two descriptors", n, n*2/5)
	default:
		e.add(OK, "files", "", "limit %d", n)
	}
}

func (e *exam) disk(context.Context) {
	dir := e.cfg.Data
	if _, err := os.Stat(dir); err != nil {
		dir = "."
	}
	free, known := server.DiskFree(dir)
	switch {
	case !known:
		e.add(Skip, "disk", "", "the free space of %s is not known here", dir)
	case free < e.cfg.Alerts.DiskFree:
		e.add(Fail, "disk", "free space or grow the disk: when it is full, records cannot be written and calls are refused",
			"%d MB free at %s, less than alerts.disk_free (%d MB)", free/1e6, dir, e.cfg.Alerts.DiskFree/1e6)
	default:
		e.add(OK, "disk", "", "%d MB free at %s", free/1e6, dir)
	}
}

// cgroupLimits are where a container's limit on memory stands.
var cgroupLimits = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// baseMemory is what a Penstock takes beside bodies, in bytes.
const baseMemory = 128 << 20

func (e *exam) memory(context.Context) { e.memoryLimit(readLimit(cgroupLimits)) }

func (e *exam) memoryLimit(limit int64) {
	need := e.cfg.Limits.InFlight + baseMemory
	switch {
	case limit == 0:
		e.add(OK, "memory", "", "no limit is set on this group of processes")
	case limit < need:
		e.add(Warn, "memory", "raise the limit, or lower limits.in_flight",
			"the limit is %d MB; bodies in flight may take %d MB (limits.in_flight) and the rest about %d MB", limit/1e6, e.cfg.Limits.InFlight/1e6, baseMemory/1_000_000)
	default:
		e.add(OK, "memory", "", "limit %d MB, at most about %d MB needed", limit/1e6, need/1e6)
	}
}

// readLimit reads the first limit that there is; 0 is none.
func readLimit(paths []string) int64 {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || n > 1<<50 { // "max", and what the older kind writes instead
			return 0
		}
		return n
	}
	return 0
}

func (e *exam) plaintext(context.Context) {
	said := false
	if config.IsPublic(e.cfg.Listen) && !e.cfg.TLS.On() {
		said = true
		e.add(Warn, "plaintext", "set tls, or make sure that only what adds TLS can reach it",
			"the data plane listens on %s without TLS: keys and bodies can be read on the way", e.cfg.Listen)
	}
	if config.IsPublic(e.cfg.Admin.Listen) && !e.cfg.Admin.TLS.On() {
		said = true
		e.add(Warn, "plaintext", "set admin.tls, or make sure that only what adds TLS can reach it",
			"the control plane listens on %s without TLS: admin keys can be read on the way", e.cfg.Admin.Listen)
	}
	if !said {
		e.add(OK, "plaintext", "", "nothing is offered to other machines without TLS")
	}
}

const day = 24 * time.Hour

func (e *exam) certificates(context.Context) {
	for _, l := range []struct {
		name string
		tls  config.TLS
	}{{"tls", e.cfg.TLS}, {"admin.tls", e.cfg.Admin.TLS}} {
		if !l.tls.On() {
			continue
		}
		end, err := server.CertificateEnd(l.tls, e.cfg.Resolver())
		if err != nil {
			e.add(Fail, "certificate", "put a certificate in PEM where "+l.name+".cert points", "%s: %v", l.name, err)
			continue
		}
		e.certificate(l.name, "put the new one where "+l.name+".cert and "+l.name+".key point; it is taken up within a second", end)
	}
}

// certificate says when one ends.
func (e *exam) certificate(whose, do string, end time.Time) {
	when := end.UTC().Format(time.DateTime + " UTC")
	switch left := end.Sub(e.o.Now()); {
	case left <= 0:
		e.add(Fail, "certificate", do, "that of %s ended %s", whose, when)
	case left < day:
		e.add(Fail, "certificate", do, "that of %s ends within a day, %s", whose, when)
	case left < 30*day:
		e.add(Warn, "certificate", do, "that of %s ends in %d days, %s", whose, left/day, when)
	default:
		e.add(OK, "certificate", "", "that of %s ends %s", whose, when)
	}
}
