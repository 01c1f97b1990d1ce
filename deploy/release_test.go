package deploy

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The same commit gives the same bytes, whoever builds it and when.
func TestReleaseIsTheSameTwice(t *testing.T) {
	t.Parallel()
	if os.Getenv("PENSTOCK_TEST_ALL") == "" {
		t.Skip("LEFT OUT: it builds a release twice; make test does")
	}
	// This machine's own platform, for which nearly all is compiled already; the others are a matter of make release.
	const platform = runtime.GOOS + "/" + runtime.GOARCH
	name := "penstock-v0.0.0-test-" + runtime.GOOS + "-" + runtime.GOARCH
	release := func(mask, zone string) string {
		out := t.TempDir()
		c := exec.Command("sh", "-c", `umask "$1"; exec ../scripts/release.sh -o "$2" "$3"`, "sh", mask, out, platform)
		c.Env = append(os.Environ(), "TZ="+zone, "VERSION=v0.0.0-test")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return out
	}
	one, two := release("022", "UTC"), release("077", "Asia/Tokyo")
	for _, file := range []string{name + ".tar.gz", name + ".spdx.json", "SHA256SUMS"} {
		a, b := read(t, filepath.Join(one, file)), read(t, filepath.Join(two, file))
		if sha256.Sum256([]byte(a)) != sha256.Sum256([]byte(b)) {
			t.Errorf("%s differs", file)
		}
	}
	run(t, one, "sha256sum", "--check", "--quiet", "SHA256SUMS")
	files := run(t, one, "tar", "-tzf", name+".tar.gz")
	for _, want := range []string{"/penstock\n", "/LICENSE\n", "/sbom.spdx.json", "/licenses/github.com/spf13/cobra/LICENSE.txt\n", "/deploy/systemd/penstock.service\n"} {
		if !strings.Contains(files+"\n", want) {
			t.Errorf("no %q in the archive", want)
		}
	}
	var bill struct {
		Version  string `json:"spdxVersion"`
		Packages []struct{ Name, VersionInfo string }
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(one, name+".spdx.json"))), &bill); err != nil || bill.Version != "SPDX-2.3" || len(bill.Packages) < 20 {
		t.Errorf("%v: %+v", err, bill)
	}
}

func TestVersionSaysWhatItIs(t *testing.T) {
	t.Parallel()
	var v struct {
		Version, Commit, Go, OS, Arch string
		Schema                        int64
	}
	text := run(t, ".", binary(t), "version", "--json")
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Version != "dev" || !strings.HasPrefix(v.Go, "go1.") || v.OS == "" || v.Schema < 1 {
		t.Errorf("%v in %s", err, text)
	}
}
