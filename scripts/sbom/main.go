// Command sbom writes the bill of materials of a Go binary as SPDX 2.3 in JSON, and copies the licences of the modules in it.
// It reads what the compiler put into the binary, so it lists what is linked and nothing else; it does not look for flaws.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "version of the program")
	commit := flag.String("commit", "", "commit that it was built from")
	epoch := flag.Int64("epoch", 0, "time of the commit, in seconds since 1970")
	licenses := flag.String("licenses", "", "directory to copy licences into")
	flag.Parse()
	if err := write(flag.Arg(0), *version, *commit, *epoch, *licenses); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A document is the part of SPDX that is used here.
type document struct {
	Version   string         `json:"spdxVersion"`
	License   string         `json:"dataLicense"`
	ID        string         `json:"SPDXID"`
	Name      string         `json:"name"`
	Namespace string         `json:"documentNamespace"`
	Creation  creation       `json:"creationInfo"`
	Packages  []pkg          `json:"packages"`
	Relations []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type pkg struct {
	ID       string     `json:"SPDXID"`
	Name     string     `json:"name"`
	Version  string     `json:"versionInfo"`
	Download string     `json:"downloadLocation"`
	Analyzed bool       `json:"filesAnalyzed"`
	Refs     []external `json:"externalRefs"`
}

type external struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func packageOf(path, version string) pkg {
	return pkg{
		ID: "SPDXRef-" + unfit.ReplaceAllString(path, "-"), Name: path, Version: version, Download: "NOASSERTION",
		Refs: []external{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + version}},
	}
}

func write(binary, version, commit string, epoch int64, licenses string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	root := packageOf(info.Main.Path, version)
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: filepath.Base(filepath.Dir(binary)),
		Namespace: "https://github.com/penstock/penstock/sbom/" + commit + "/" + filepath.Base(filepath.Dir(binary)),
		Creation:  creation{time.Unix(epoch, 0).UTC().Format(time.RFC3339), []string{"Tool: penstock-sbom"}},
		Packages:  []pkg{root}, Relations: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", root.ID}},
	}
	add := func(path, version string) {
		p := packageOf(path, version)
		d.Packages = append(d.Packages, p)
		d.Relations = append(d.Relations, relationship{root.ID, "DEPENDS_ON", p.ID})
	}
	add("stdlib", info.GoVersion)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version)
		if licenses != "" {
			if err := copyLicenses(m, licenses); err != nil {
				return err
			}
		}
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}

var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// copyLicenses copies the licence files at a module's root. A module without one is an error: it must not be given away.
func copyLicenses(m *debug.Module, to string) error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.Path).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	dir := strings.TrimSpace(string(out))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		if e.IsDir() || !licenseName.MatchString(e.Name()) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(m.Path), e.Name())
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, b, fs.FileMode(0o644))); err != nil {
			return err
		}
		found = found || !strings.HasPrefix(strings.ToLower(e.Name()), "notice")
	}
	if !found {
		return fmt.Errorf("%s has no licence", m.Path)
	}
	return nil
}
