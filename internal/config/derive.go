package config

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/store"
)

// Gateway gives the limits to their owner.
func (l Limits) Gateway() gateway.Limits { return gateway.Limits(l) }

// StorePath is the file of the store, "" if it is a database server's.
func (f *File) StorePath() string {
	path, ok := strings.CutPrefix(f.Store, "sqlite:")
	if !ok {
		return ""
	}
	return path
}

// StoreOptions are how the store is reached; log and metrics are the caller's to add.
func (f *File) StoreOptions() store.Options {
	o := store.Options{Connections: f.Pool}
	if f.Password != "" {
		o.Password = func() (secret.String, error) { return f.Resolver().Resolve(f.Password) }
	}
	return o
}

// KeyringPath is the file of the key ring.
func (f *File) KeyringPath() string { return strings.TrimPrefix(f.Keyring, "file:") }

// KeyringWrapper is what the key ring is wrapped by, nil if by nothing.
func (f *File) KeyringWrapper() seal.Wrapper {
	w, err := seal.NewWrapper(f.Wrap)
	if err != nil { // "" is, and Load has let nothing else through
		return nil
	}
	return w
}

// DangerousSwitches lists the settings in force that give up a safety, by their paths.
func (f *File) DangerousSwitches() (on []string) {
	for _, s := range []struct {
		path string
		on   bool
	}{
		{"admin.allow_plaintext", f.Admin.AllowPlaintext}, {"admin.open_metrics", f.Admin.OpenMetrics}, {"records", f.Usage.Off()},
	} {
		if s.on {
			on = append(on, s.path)
		}
	}
	return on
}

// AuditKeyPath is the file of the key that signs checkpoints of the audit chain.
func (f *File) AuditKeyPath() string { return strings.TrimPrefix(f.Audit.Key, "file:") }

// CheckpointsPath is the file of this process's own checkpoints of the audit chain.
func (f *File) CheckpointsPath() string { return filepath.Join(f.Data, "audit.checkpoints") }

// AdminKeyPath is the file of the first admin key.
func (f *File) AdminKeyPath() string { return filepath.Join(f.Data, "admin.key") }

// AdminURL is where the control plane is to be reached from this machine, without a slash at the end. With port 0 it is of
// no use: only the running process knows the port.
func (f *File) AdminURL() string {
	scheme := "http"
	if f.Admin.TLS.On() {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(f.Admin.Listen)
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}).String()
}

// AdminCertificate is the file with the control plane's certificate, "" if there is none or if it is not in a file.
func (f *File) AdminCertificate() string {
	path, ok := strings.CutPrefix(f.Admin.TLS.Cert, "file:")
	if !ok {
		return ""
	}
	return f.Resolver().file(path)
}

// Vendor is the catalogue's name of whose models a provider serves: as configured, else who lives at its address, else
// the vendor of the same name. "" if nothing tells; then its models are unpriced, which is better than wrongly priced.
func (f *File) Vendor(name string, t *catalog.Table) string {
	p := f.Providers[name]
	if p.Vendor != "" {
		return p.Vendor
	}
	if u, err := url.Parse(p.BaseURL); err == nil && u.Host != "" {
		if v, ok := t.VendorAt(u.Hostname()); ok {
			return v
		}
	}
	switch all := t.VendorNames(); {
	case p.Private: // one's own servers have one's own prices, whatever they are called
	case slices.Contains(all, name):
		return name
	case p.BaseURL == "" && p.Dialect == llm.Bedrock:
		return "amazon-bedrock"
	case p.BaseURL == "" && p.Dialect == llm.Gemini:
		return "google"
	case p.BaseURL == "" && slices.Contains(all, string(p.Dialect)):
		return string(p.Dialect)
	}
	return ""
}
