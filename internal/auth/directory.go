package auth

import (
	"context"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
)

// Each stands, in the place of a project or key, for every one, each for itself.
const Each = "*"

// A Directory finds projects and keys by their ids and names, as of one moment.
type Directory struct {
	Projects map[string]Project // by id
	Keys     map[string]Key     // by id, those that have ended too
	orgs     map[string]bool
}

// Directory reads what there is.
func (s *Service) Directory(ctx context.Context) (*Directory, error) {
	_, projects, keys, err := s.Store.AllKeys(ctx)
	if err != nil {
		return nil, err
	}
	return NewDirectory(projects, keys), nil
}

// NewDirectory makes a directory of what was read.
func NewDirectory(projects []Project, keys []Key) *Directory {
	d := &Directory{Projects: map[string]Project{}, Keys: map[string]Key{}, orgs: map[string]bool{}}
	for _, p := range projects {
		d.Projects[p.ID], d.orgs[p.Org] = p, true
	}
	for _, k := range keys {
		d.Keys[k.ID] = k
	}
	return d
}

// First is the key that a key was rotated from, over all rotations: what is set for a key is kept by it.
func (d *Directory) First(id string) string {
	return firstKey(len(d.Keys), id, func(id string) string { return d.Keys[id].Replaces })
}

// firstKey is First of so many keys, of which replaces says what each was rotated from.
func firstKey(keys int, id string, replaces func(id string) string) string {
	for range keys { // a circle cannot be, and would end
		before := replaces(id)
		if before == "" {
			break
		}
		id = before
	}
	return id
}

// Last is the key that came last of those that were rotated from the first, and whether it works; of the zero Key there is none.
func (d *Directory) Last(first string) (last Key, works bool) {
	last = d.Keys[first]
	for id, k := range d.Keys {
		if k.Project == last.Project && d.First(id) == first && k.Created.After(last.Created) {
			last = k
		}
	}
	return last, last.ID != "" && last.Revoked.IsZero()
}

// Resolve finds what an organisation, a project and a key are meant by, any of which may be "": a project by its id, or by its
// name if only one organisation that fits has the name; a key by its id, or by its name within the project. Project and key may
// be [Each]. A project tells its organisation and a key its project, so org is "" beside the id of a project; a key is given by
// its first ([Directory.First]). Errors are faults NotThere and InvalidRequest.
func (d *Directory) Resolve(org, project, key string) (theOrg, theProject, theKey string, err error) {
	if org != "" && !d.orgs[org] {
		return "", "", "", nobody("org", "There is no organisation "+quoted(org)+" here.")
	}
	if project != "" && project != Each {
		if project, err = d.project(org, project); err != nil {
			return "", "", "", err
		}
	}
	if key == "" || key == Each {
		if project != "" && project != Each {
			org = ""
		}
		return org, project, key, nil
	}
	k, err := d.key(org, project, key)
	if err != nil {
		return "", "", "", err
	}
	return "", k.Project, d.First(k.ID), nil
}

func (d *Directory) project(org, nameOrID string) (id string, err error) {
	if p, ok := d.Projects[nameOrID]; ok {
		if org != "" && p.Org != org {
			return "", nobody("project", "The project is not of the organisation "+quoted(org)+".")
		}
		return p.ID, nil
	}
	for _, p := range d.Projects {
		if p.Name != nameOrID || org != "" && p.Org != org {
			continue
		}
		if id != "" {
			f := fault.New(fault.InvalidRequest, "Several organisations have a project %s.", quoted(nameOrID))
			f.Param, f.Hint = "project", "Name the organisation, too, or give the project's id."
			return "", f
		}
		id = p.ID
	}
	if id == "" {
		return "", nobody("project", "There is no project "+quoted(nameOrID)+" here.")
	}
	return id, nil
}

func (d *Directory) key(org, project, nameOrID string) (found Key, err error) {
	found, byID := d.Keys[nameOrID]
	for _, k := range d.Keys {
		if !byID && k.Name == nameOrID && k.Project == project && k.Revoked.IsZero() {
			found = k
		}
	}
	of, named := d.Projects[found.Project], project != "" && project != Each
	bad := func(text, hint string) (Key, error) {
		f := fault.New(fault.InvalidRequest, "key: %s", text)
		f.Param, f.Hint = "key", hint
		return Key{}, f
	}
	switch {
	case found.ID == "" && !named:
		return bad("There is no key with the id "+quoted(nameOrID)+" here.", "Name its project, too: then the key may be given by its name.")
	case found.ID == "":
		return Key{}, nobody("key", "The project has no key "+quoted(nameOrID)+".")
	case named && project != found.Project:
		return bad(quoted(nameOrID)+" is not a key of the project.", "Nothing was changed.")
	case org != "" && of.Org != org:
		return bad(quoted(nameOrID)+" is not a key of the organisation.", "Nothing was changed.")
	}
	return found, nil
}

func nobody(param, message string) error {
	f := fault.New(fault.NotThere, "%s", message)
	f.Param, f.Hint = param, "See: penstock project list, penstock key list"
	return f
}

// quoted writes what was sent so that it is seen whole and harmless, and not at any length.
func quoted(s string) string {
	if len(s) > maxGlob {
		s = s[:maxGlob] + "..."
	}
	return strconv.Quote(s)
}
