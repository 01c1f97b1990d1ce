package audit

import (
	"context"
	"io"
)

// Look is how the chain is: its end as the store has it now, and what was found of it last.
func (k *Keeper) Look(ctx context.Context) (State, error) {
	head, err := k.store.AuditHead(ctx)
	if err != nil {
		return State{}, err
	}
	state := k.State()
	state.Head = head
	return state, nil
}

// CheckpointNow is [Keeper.Checkpoint] as an act of whoever asks for it: the entry comes first, so the checkpoint has seen
// who asked. The act has failed if done is false; else it was done, and an error is that no checkpoint came of it.
func (k *Keeper) CheckpointNow(ctx context.Context) (c Checkpoint, done bool, err error) {
	if err := k.store.AppendAudit(ctx, Act{Action: Checkpointed}); err != nil {
		return Checkpoint{}, false, err
	}
	c, err = k.Checkpoint(ctx)
	return c, true, err
}

// An Export is an export that has begun: that it is made is an entry, which is in it.
type Export struct {
	keeper *Keeper
	head   ExportHead
	filter Filter
}

// BeginExport begins an export of what a filter selects, the oldest first. Give nothing out if it fails.
func (k *Keeper) BeginExport(ctx context.Context, f Filter) (*Export, error) {
	f.Ascending = true
	x := &Export{keeper: k, head: NewExportHead(k.o.Now(), Head{}, f), filter: f}
	act := Act{Action: ChainExported, After: x.head.Filter()}
	if err := k.store.AppendAudit(ctx, act); err != nil {
		return nil, err
	}
	var err error
	x.head.Head, err = k.store.AuditHead(ctx)
	return x, err
}

// Write writes the export, up to the entries that there were when it began, and signs it. It calls page before each part of
// it, which is where a server gives its client more time. After an error, what was written is not a whole export, and
// whoever reads it can tell.
func (x *Export) Write(ctx context.Context, w io.Writer, page func()) error {
	out, err := NewExporter(w, x.head)
	if err != nil {
		return err
	}
	f := x.filter
	for more := true; more; {
		entries, err := x.keeper.store.AuditEntries(ctx, f, pageSize)
		if err != nil {
			return err
		}
		page()
		more = len(entries) == pageSize
		for i := range entries {
			if entries[i].Seq > x.head.Head.Seq {
				more = false
				break
			}
			f.After = entries[i].Seq
			if err := out.Add(&entries[i]); err != nil {
				return err
			}
		}
	}
	return out.End(x.keeper.o.Key)
}
