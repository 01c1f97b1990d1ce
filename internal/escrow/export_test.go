package escrow

// A Hand is what a bank has of a lease.
type Hand struct {
	Key               Key
	Lease             string
	Free, Held, Spent int64 // Free is with what is owed
	Owed              int64
	Tail              bool
}

// Hands are what a bank has.
func (b *Bank) Hands() (hands []Hand) {
	for _, p := range b.leased() {
		p.mu.Lock()
		if l := p.lease; l != nil {
			hands = append(hands, Hand{p.key, l.id, l.free + l.owed, l.held, l.spent, l.owed, p.tail})
		}
		p.mu.Unlock()
	}
	return hands
}

// Known is how many pools are in memory.
func (b *Bank) Known() int { return b.pools() }

// Key is what the pool is called.
func (p *Pool) Key() Key { return p.key }
