package idempotency

import (
	"context"
	"sync"
	"time"
)

// memory is a store that forgets with the process. Several keepers may share it, as replicas do.
type memory struct {
	mu     sync.Mutex
	rows   map[name]*kept
	claims int // how often a key was claimed
	unsure bool
	fails  error
	other  bool // another has the lease of the purge
}

type kept struct {
	Row
	made, lease time.Time
}

func (m *memory) ClaimKey(_ context.Context, r Row, lease, keep time.Duration) (Row, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil && !m.unsure {
		return Row{}, false, m.fails
	}
	n := name{r.Project, r.Key}
	if old := m.rows[n]; old != nil && time.Since(old.made) < keep {
		is := old.Row
		if is.State == Running && !time.Now().Before(old.lease) {
			is.State = Lost
		}
		return is, false, nil
	}
	m.claims++
	m.rows[n] = &kept{r, time.Now(), time.Now().Add(lease)}
	if m.unsure {
		return Row{}, false, m.fails
	}
	return Row{}, true, nil
}

func (m *memory) KeyBusy(_ context.Context, project, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rows[name{project, key}]
	return r != nil && r.State == Running && time.Now().Before(r.lease), m.fails
}

func (m *memory) SettleKey(_ context.Context, r Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.rows[name{r.Project, r.Key}]; m.fails == nil && old != nil && old.Exchange == r.Exchange && old.State == Running {
		old.State, old.DataKey, old.Sealed = r.State, r.DataKey, r.Sealed
	}
	return m.fails
}

func (m *memory) ReturnKey(_ context.Context, project, key, exchange string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.rows[name{project, key}]; old != nil && old.Exchange == exchange && old.State == Running {
		delete(m.rows, name{project, key})
	}
	return nil
}

func (m *memory) RenewKeys(_ context.Context, exchanges []string, lease time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range exchanges {
		for _, r := range m.rows {
			if r.Exchange == id && m.fails == nil {
				r.lease = time.Now().Add(lease)
			}
		}
	}
	return m.fails
}

func (m *memory) KeyProjects(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	var all []string
	for n := range m.rows {
		if !seen[n.project] {
			seen[n.project] = true
			all = append(all, n.project)
		}
	}
	return all, m.fails
}

func (m *memory) PurgeKeys(_ context.Context, _, project string, keep time.Duration, limit int) (n int, mine bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, r := range m.rows {
		if !m.other && n < limit && at.project == project && time.Since(r.made) >= keep {
			delete(m.rows, at)
			n++
		}
	}
	return n, !m.other, m.fails
}

func (m *memory) GiveBack(context.Context) (bool, error) { return false, nil }

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}
