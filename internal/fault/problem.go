package fault

// A Problem is one mistake in a configuration: where it is, what is wrong, and how to mend it. Validations return all of
// theirs at once with errors.Join, so whoever reports them can put each beside its line of the file.
type Problem struct {
	Path string // the setting: "providers.house.base_url"
	Text string // what is wrong with it: "must be an absolute URL"
	Hint string // how to mend it, "" if Text says it all: "such as http://10.0.0.7:8000/v1"
}

// Error is "path: text (hint)".
func (p Problem) Error() string {
	s := p.Path + ": " + p.Text
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}
