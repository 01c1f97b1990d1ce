//go:build linux

package chaos

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// free checks that none of the texts is in anything that Penstock has written: data, logs, metrics, records.
func (w *world) free(secrets ...string) {
	w.t.Helper()
	var all []record
	if err := w.admin("GET", "/exchanges?limit=1000", nil, &struct{ Data *[]record }{&all}); err != nil {
		w.t.Error(err)
	}
	shown, err := json.Marshal(all)
	if err != nil {
		w.t.Error(err)
	}
	places := map[string][]byte{"metrics": []byte(w.metrics()), "records": shown, "log": []byte(w.serve.log(w.t))}
	err = filepath.WalkDir(w.dataDir(), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		places[file], err = os.ReadFile(file)
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	if len(places) < 6 {
		w.t.Errorf("only %d places were looked at", len(places))
	}
	for place, text := range places {
		for _, secret := range secrets {
			if at := bytes.Index(text, []byte(secret)); at >= 0 {
				w.t.Errorf("%s is in %s: %q", secret, place, text[max(0, at-60):min(len(text), at+60)])
			}
		}
	}
}

// lines gives the lines of a log that hold a text.
func lines(log, text string) []string {
	var all []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			all = append(all, line)
		}
	}
	return all
}
