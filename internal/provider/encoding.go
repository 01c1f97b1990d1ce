package provider

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	// freeDecoded is how much a compressed answer may become before its ratio counts, in bytes.
	freeDecoded = 1 << 20
	// maxRatio is how many times its compressed length an answer may have. JSON seldom reaches 30.
	maxRatio = 100
)

// decodeBody undoes the content encoding. None was asked for; some upstreams and middle boxes compress all the same.
func decodeBody(resp *http.Response) error {
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		resp.Body = &gunzip{body: resp.Body}
		resp.ContentLength = -1
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
	default:
		return &Failure{
			Reason: ReasonGarbage, Status: resp.StatusCode, Message: "compressed its answer in a way that was not asked for",
			Err: fmt.Errorf("content-encoding %.40q", encoding),
		}
	}
	return nil
}

// A gunzip decompresses a body and stops at a bomb. The reader of its output caps how much that is in all.
type gunzip struct {
	body    io.ReadCloser
	z       *gzip.Reader
	in, out int64
	err     error
}

// Read decompresses on.
func (g *gunzip) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if g.z == nil {
		if g.z, g.err = gzip.NewReader(counted{g}); g.err != nil {
			g.err = gzipFailure(g.err)
			return 0, g.err
		}
	}
	n, err := g.z.Read(p)
	g.out += int64(n)
	switch {
	case g.out > freeDecoded && g.out/maxRatio > g.in:
		n, g.err = 0, &Failure{
			Reason: ReasonTooLarge, Message: "compressed its answer suspiciously well",
			Err: fmt.Errorf("%d bytes became %d", g.in, g.out),
		}
	case err != nil:
		g.err = gzipFailure(err)
	}
	return n, g.err
}

// Close closes the compressed body.
func (g *gunzip) Close() error { return g.body.Close() }

// counted reads the compressed bytes and counts them.
type counted struct{ g *gunzip }

func (c counted) Read(p []byte) (int, error) {
	n, err := c.g.body.Read(p)
	c.g.in += int64(n)
	return n, err
}

// gzipFailure tells what is wrong with the data from what is wrong with the network.
func gzipFailure(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return &Failure{Reason: ReasonGarbage, Message: "says that its answer is gzip, and it is not", Err: err}
	}
	return err
}
