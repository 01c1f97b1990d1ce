package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/penstock/penstock/internal/secret"
)

// Lookup finds an environment variable, as [os.LookupEnv] does.
type Lookup func(name string) (value string, ok bool)

// A Resolver reads what references stand for. It keeps nothing, so each call sees what is there now.
type Resolver struct {
	Dir string // where relative paths start; "" is the working directory
	Env Lookup // nil is the process's environment
}

// Resolver reads the file's references.
func (f *File) Resolver() Resolver { return Resolver{Dir: baseDir(f.path), Env: f.env} }

// maxSecret bounds a file that a reference names; certificate bundles are below it.
const maxSecret = 1 << 20

// Resolve reads env:NAME or file:PATH. One newline at the end is not part of the secret. A missing variable or file, an
// empty secret and a text that is no reference are errors; none repeats the secret.
func (r Resolver) Resolve(ref string) (secret.String, error) {
	scheme, name, _ := strings.Cut(ref, ":")
	value, shown := "", "env:"+showKey(name)
	switch scheme {
	case "env":
		lookup := r.Env
		if lookup == nil {
			lookup = os.LookupEnv
		}
		found := false
		if value, found = lookup(name); !found {
			return secret.String{}, fmt.Errorf("the variable %s is not set", showKey(name))
		}
	case "file":
		bytes, err := readSecret(r.file(name))
		if err != nil {
			return secret.String{}, err
		}
		value, shown = string(bytes), "file:"+r.file(name)
	default:
		return secret.String{}, errors.New("not a reference; write env:NAME or file:PATH")
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return secret.String{}, fmt.Errorf("%s is empty", shown)
	}
	return secret.New(value), nil
}

func (r Resolver) file(path string) string {
	if r.Dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.Dir, path)
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file:%s cannot be read: %w", path, cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("file:%s cannot be read: %w", path, cause(err))
	case len(b) > maxSecret:
		return nil, fmt.Errorf("file:%s is larger than %s", path, formatBytes(maxSecret))
	}
	return b, nil
}

// cause is an error without the path that its message already has.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// bareVariable is a variable's name where a reference belongs, in the forms that other programs read. It wants an
	// underscore: access keys of some vendors are capitals and digits too.
	bareVariable = regexp.MustCompile(`^(?:\$\{?|os\.environ/|\{env\.)?([A-Z][A-Z0-9]*_[A-Z0-9_]*)\}?$`)
)

// checkReference says what is wrong with a text where a reference belongs.
func checkReference(ref, owner string) (text, hint string) {
	scheme, name, found := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return "is empty", "write env:NAME or file:PATH, or remove the key"
	case scheme == "env" && found:
		if !variable.MatchString(name) {
			return "what follows env: is not a variable's name", "write env:NAME"
		}
		return "", ""
	case scheme == "file" && found:
		if name == "" {
			return "what follows file: is empty", "write file:PATH"
		}
		return "", ""
	}
	if m := bareVariable.FindStringSubmatch(ref); m != nil && !looksSecret(m[1]) {
		return "a variable is named by env:", "write env:" + m[1]
	}
	if strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, ".pem") ||
		strings.HasSuffix(ref, ".crt") || strings.HasSuffix(ref, ".key") {
		return "a file is named by file:", "write file:PATH"
	}
	return "a literal secret", "write env:" + suggestVariable(owner) + " or file:PATH, and revoke this one"
}

// suggestVariable is the usual name of the variable with a provider's key.
func suggestVariable(owner string) string {
	up := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, owner) + "_API_KEY"
	if owner == "" || !variable.MatchString(up) {
		return "NAME"
	}
	return up
}

// baseDir is where relative paths of a file start.
func baseDir(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Dir(path)
}
