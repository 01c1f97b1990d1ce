// Package layers holds no code, only tests, which read the sources of the whole module and fail when a rule of the house
// is broken: the direction of imports, package comments, names, sizes, sleeping tests and the list of dependencies.
//
// It is for rules that no compiler or linter knows. It is not for testing what a package does: that is the package's own
// business. The order of the packages is the table in table_test.go; a new package has to be entered there.
package layers
