package store

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
)

// readers is how many reads run at once.
func readers() int { return max(4, runtime.GOMAXPROCS(0)) }

// prepareFile makes sure that there is a file that only its owner may read, and gives its real path: two names of one
// file must not be two locks.
func prepareFile(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	info, err := f.Stat()
	err = errors.Join(err, f.Close())
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("is not a file")}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// openSQLite makes the two pools of connections to a file.
func openSQLite(file string) (p pools, err error) {
	shared := url.Values{
		"_busy_timeout": {"5000"}, // a backup, or a person with a shell, may hold the file for a moment
		"_error_rc":     {"1"},
		"_dqs":          {"0"}, // a misspelt column is an error and not a text
		"_defensive":    {"1"},
		"_pragma":       {"trusted_schema(0)", "foreign_keys(1)", "temp_store(memory)", "cache_size(-16384)"},
	}
	writing := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"journal_mode(wal)",
			"synchronous(full)",            // a commit is on the disk when it returns
			"wal_autocheckpoint(4096)",     // pages; fewer mean writing the same page to the database more often
			"journal_size_limit(67108864)", // a log that a long reader made large shrinks again
		},
	}
	if info, err := os.Stat(file); err == nil && info.Size() == 0 {
		// Of a file that is made now: see giveback.go. Said of another it is a write, and that may not be ours.
		writing["_pragma"] = append([]string{"auto_vacuum(incremental)"}, writing["_pragma"]...)
	}
	reading := url.Values{
		"_query_only": {"1"},
		// Searches say in which order to look; an index made for one search would read the whole table first.
		"_pragma": {"automatic_index(0)"},
	}
	write, err := sql.Open("sqlite", address(file, shared, writing))
	if err != nil {
		return p, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", address(file, shared, reading))
	if err != nil {
		return p, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(readers())
	read.SetMaxIdleConns(readers())
	return pools{write: write, read: read, watch: read, schemas: write}, nil
}

// address is the driver's name of a file with settings. The path is escaped, so that a ? in it begins no settings.
func address(file string, settings ...url.Values) string {
	all := url.Values{}
	for _, s := range settings {
		for name, values := range s {
			all[name] = append(all[name], values...)
		}
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + all.Encode()
}
