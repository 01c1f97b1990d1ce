package escrow

// Spare is how much of the pool this process holds and no call has reserved: for whoever tells people how a pool stands, it is free.
func (p *Pool) Spare() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.bank.now()
	if l := p.lease; l != nil && now < l.until {
		return max(l.spare(now), 0)
	}
	return 0
}
