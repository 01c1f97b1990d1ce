package server

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files uint64
		want  budget
	}{
		{128, budget{data: 28, surplus: 7, idle: 7, control: 8}},
		{1024, budget{data: 364, surplus: 91, idle: 91, control: 64}},
		{20000, budget{data: 7878, surplus: 256, idle: 1969, control: 256}},
		{0, budget{data: 419308, surplus: 256, idle: 104827, control: 256}},
	} {
		if got := divide(tt.files); got != tt.want {
			t.Errorf("%d files: %+v, want %+v", tt.files, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		files := rapid.Uint64Range(72, 2*mostFiles).Draw(t, "files")
		b := divide(files)
		if b.data < 1 || b.idle < 1 || b.control < 1 {
			t.Errorf("%d files: %+v lets nobody in", files, b)
		}
		// Each connection of a client may need one to a provider.
		if need := ownFiles + 2*b.data + b.surplus + b.idle + b.control; uint64(need) > files {
			t.Errorf("%d files: %+v may need %d", files, b, need)
		}
	})
}

func TestCrowded(t *testing.T) {
	t.Parallel()
	usual, surplus := context.Background(), context.WithValue(context.Background(), guestKey{}, &guest{surplus: true})
	for _, tt := range []struct {
		name                  string
		ctx                   context.Context
		connections, requests int64
		want                  bool
	}{
		{"room", usual, 10, 10, false},
		{"many requests over few connections", usual, 1, 11, true},
		{"surplus", surplus, 11, 1, true},
		{"surplus no more", surplus, 10, 1, false},
		{"others are surplus", usual, 11, 10, false},
	} {
		d := &door{most: 10}
		d.open.Store(tt.connections)
		err := d.crowded(tt.ctx, tt.requests)
		f, told := errors.AsType[*fault.Error](err)
		if told != tt.want || told && (f.Code != fault.Overloaded || f.RetryAfter <= 0) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
