package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"

	"github.com/penstock/penstock/internal/fault"
)

//go:embed assets
var assetFiles embed.FS

// An asset is a file that pages load.
type asset struct {
	kind        string // its media type
	plain, gzip []byte
	version     string // of its content: the address changes with it, so browsers may keep the file for good
}

var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() (map[string]asset, error) {
	list, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	all := map[string]asset{}
	for _, f := range list {
		b, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, err
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		_, _ = z.Write(b) // into memory
		if err := z.Close(); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		all[f.Name()] = asset{assetKinds[path.Ext(f.Name())], b, packed.Bytes(), hex.EncodeToString(sum[:6])}
	}
	return all, nil
}

// asset serves a file. Pages are not compressed, for they hold the session's token beside texts that others chose; files
// hold nothing that is secret.
func (c *Console) asset(v *visit) error {
	a, ok := c.assets[v.part]
	if !ok {
		return fault.New(fault.NotThere, "There is no such file.")
	}
	h := v.w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	if v.r.URL.RawQuery == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	b := a.plain
	if strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		b = a.gzip
	}
	v.status = http.StatusOK
	_, _ = v.w.Write(b)
	return nil
}
