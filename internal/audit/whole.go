package audit

import "context"

// VerifyWhole verifies a chain from its first entry to its last, and gives the last. The error is a [*Break], or the store's.
func VerifyWhole(ctx context.Context, store Store, points []Checkpoint) (Head, error) {
	head, err := store.AuditHead(ctx)
	if err != nil {
		return head, err
	}
	v, err := NewVerifier(Head{Chain: head.Chain}, points)
	for err == nil && v.At().Seq < head.Seq {
		var page []Entry
		if page, err = store.AuditEntries(ctx, Filter{Ascending: true, After: v.At().Seq}, pageSize); err != nil {
			break
		}
		for i := 0; i < len(page) && err == nil; i++ {
			err = v.Next(&page[i])
		}
		if len(page) < pageSize {
			break
		}
	}
	if err != nil {
		return head, err
	}
	return head, v.End(head)
}
