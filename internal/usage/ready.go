package usage

import "errors"

// Ready says why no record could be kept at the moment, nil if it could; then calls are refused.
func (r *Recorder) Ready() error {
	switch {
	case r.o.Off:
		return nil
	case r.failing.Load():
		return errors.New("the journal cannot be written")
	}
	return r.hasRoom()
}
