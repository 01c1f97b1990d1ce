package journal

import (
	"bytes"
	"fmt"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	j := open(b, b.TempDir(), Options{})
	payload := bytes.Repeat([]byte("x"), 600)
	b.ReportAllocs()
	for b.Loop() {
		pos, err := j.Append(1, payload)
		if err != nil {
			b.Fatal(err)
		}
		if pos&(1<<26-1) < 609 { // keep the disk small
			if err := j.Trim(pos); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	j := open(b, b.TempDir(), Options{})
	payload := bytes.Repeat([]byte("x"), 600)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pos, err := j.Append(1, payload)
			if err != nil {
				b.Fatal(err)
			}
			if pos&(1<<26-1) < 609 {
				if err := j.Trim(pos); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	j := open(b, b.TempDir(), Options{})
	payload := bytes.Repeat([]byte("x"), 600)
	for range 10_000 {
		if _, err := j.Append(1, payload); err != nil {
			b.Fatal(err)
		}
	}
	r := j.Reader(0)
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := r.Next(); err != nil {
			b.Fatal(err)
		} else if !ok {
			r.pos, r.seg = 0, segment{}
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	j := open(t, t.TempDir(), Options{})
	payload := make([]byte, 600)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := j.Append(1, payload); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("an append makes %v allocations", n)
	}
}

// BenchmarkAppendSync is what an exchange of a strict project waits for, alone and with 64 at once that share syncs.
func BenchmarkAppendSync(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(fmt.Sprint("at once ", at), func(b *testing.B) {
			j, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			payload := make([]byte, 600)
			b.SetParallelism(at)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := j.AppendSync(b.Context(), 1, payload); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
