package audit

import (
	"os"
	"path/filepath"
	"testing"
)

// A checkpoint that could not be written here is told to whoever asked for it, also while another sink takes all that it is
// given; and the trouble stands until one is written.
func TestACheckpointThatIsNotWrittenIsNotMade(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.o.Config.Checkpoints = "file:" + filepath.Join(t.TempDir(), "elsewhere")
	k := b.keeper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k.local = fileSink(filepath.Join(file, "in no directory"))
	b.append(1)
	if c, err := k.Checkpoint(t.Context()); err == nil {
		t.Errorf("it was made: %+v", c)
	}
	if k.State().Problem == "" {
		t.Error("no problem is told")
	}
	k.local = fileSink(b.o.Local)
	if c, err := k.Checkpoint(t.Context()); err != nil || c.Seq != 1 || k.State().Problem != "" {
		t.Errorf("%+v, %v, %q", c, err, k.State().Problem)
	}
}
