package gateway

import (
	"math/bits"
	"sync"
)

// A buffer is bytes from a pool. It has one owner at a time, who frees it.
type buffer struct{ b []byte }

// Buffers are pooled by powers of two, from 4 KB to 1 MB; larger ones are left to the collector, so that memory follows
// the requests that are open and not the largest that ever was.
const (
	minShift = 12
	maxShift = 20
)

// buffers holds at each place those of at least 1<<(minShift+i) bytes, and less than twice as many.
var buffers [maxShift - minShift + 1]sync.Pool

// takeBuffer gives an empty buffer with room for n bytes.
func takeBuffer(n int) *buffer {
	shift := max(bits.Len(uint(max(n, 1)-1)), minShift)
	if shift > maxShift {
		return &buffer{make([]byte, 0, n)}
	}
	if b, ok := buffers[shift-minShift].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, 0, 1<<shift)}
}

// free gives the buffer back. Nobody may use it, or its bytes, from then on.
func (b *buffer) free() {
	size := cap(b.b)
	if size < 1<<minShift || size > 1<<maxShift {
		return
	}
	b.b = b.b[:0]
	buffers[bits.Len(uint(size))-1-minShift].Put(b)
}
