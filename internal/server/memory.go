package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime collects when a part of the heap has been allocated anew, and else every two minutes; what pools keep goes
// after two collections. So a process that was busy with large bodies and is idle now would hold their memory for minutes,
// where its neighbours may need it.
const (
	memoryEvery = 10 * time.Second
	memorySlack = 48 << 20 // bytes that may be held without use
)

// A memory is what the runtime tells of the heap.
type memory struct {
	cycles uint64 // collections so far
	held   uint64 // bytes of the heap that the system has given and not got back
}

func readMemory() memory {
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	m := memory{cycles: samples[0].Value.Uint64()}
	for _, s := range samples[1:] {
		m.held += s.Value.Uint64()
	}
	return m
}

// A caretaker decides when memory is given back.
type caretaker struct {
	last   memory
	needed uint64 // what was held after the last time, or less
}

// due reports whether much is held and nobody has allocated enough lately for a collection.
func (k *caretaker) due(now memory) bool {
	quiet := now.cycles == k.last.cycles
	k.last = now
	k.needed = min(k.needed, now.held)
	return quiet && now.held > k.needed+memorySlack
}

// given notes what is held after memory was given back: so much is in use.
func (k *caretaker) given(now memory) { k.last, k.needed = now, now.held }

// giveBack returns memory to the system while there is little to do, until ctx ends.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	k := &caretaker{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if k.due(readMemory()) {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // the second time for what was in pools
			k.given(readMemory())
		}
	}
}
