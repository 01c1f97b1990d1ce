package auth

import "slices"

// A Role is a fixed set of permissions. One key has one role.
//
// Every key belongs to a project, but only the role caller is bound to it: a caller's key reaches no data but its project's.
// All other roles are about the whole process, and what they may read or change they may for all projects; to them the
// project says only who the key was made for.
type Role string

// The roles.
const (
	RoleCaller   Role = "caller"   // calls models, sees its own exchanges
	RoleViewer   Role = "viewer"   // reads projects, keys, usage, records (no bodies), routes, prices, budgets
	RoleOperator Role = "operator" // viewer, and sets prices, budgets, routes, stops, projects and keys of callers
	RoleAuditor  Role = "auditor"  // viewer, and reads the audit chain and bodies, and puts projects on hold
	RoleMetrics  Role = "metrics"  // reads /metrics
	RoleAdmin    Role = "admin"    // everything on the control plane, including keys of any role
)

// A Permission is one thing that a role may do.
type Permission string

// The permissions.
const (
	Call          Permission = "call"
	ReadTenants   Permission = "tenants.read"
	WriteTenants  Permission = "tenants.write"
	WriteRoles    Permission = "roles.write" // make keys with another role than caller
	ReadExchanges Permission = "exchanges.read"
	ReadUsage     Permission = "usage.read"
	ReadPrices    Permission = "prices.read"
	WritePrices   Permission = "prices.write"
	ReadRoutes    Permission = "routes.read"
	ReadMetrics   Permission = "metrics.read"
	ReadAudit     Permission = "audit.read"  // the chain of administrative acts; nobody may change it
	WriteStops    Permission = "stops.write" // stop models, projects or everything, disable targets, and lift that
	WriteHolds    Permission = "holds.write" // keep projects from being deleted by a retention, and lift that
	ReadBodies    Permission = "bodies.read" // what was asked and answered, for a reason, which is audited
	TestAlerts    Permission = "alerts.test" // send a test to the receiver of alerts
	ReadKeyring   Permission = "keyring.read"
	RotateKeyring Permission = "keyring.rotate" // add a data key
	ReadSupport   Permission = "support.read"   // the inside of the process: stacks, log lines
	TakeBackup    Permission = "backup.take"    // all that the store holds, encrypted for the key ring
	ReadBudgets   Permission = "budgets.read"   // budgets, limits and tiers, and how they stand
	WriteBudgets  Permission = "budgets.write"
)

var reading = []Permission{ReadTenants, ReadExchanges, ReadUsage, ReadPrices, ReadRoutes, ReadMetrics, ReadBudgets}

var may = map[Role][]Permission{
	RoleCaller:   {Call},
	RoleViewer:   reading,
	RoleOperator: append(slices.Clip(reading), WriteTenants, WritePrices, WriteBudgets, WriteStops, TestAlerts, ReadKeyring),
	RoleAuditor:  append(slices.Clip(reading), ReadAudit, ReadBodies, ReadKeyring, WriteHolds),
	RoleMetrics:  {ReadMetrics},
	RoleAdmin:    append(slices.Clip(reading), WriteTenants, WriteRoles, WritePrices, WriteBudgets, WriteStops, WriteHolds, ReadAudit, ReadBodies, TestAlerts, ReadKeyring, RotateKeyring, ReadSupport, TakeBackup),
}

// Can reports whether the role has the permission. An unknown role has none.
func (r Role) Can(p Permission) bool { return slices.Contains(may[r], p) }

// MayHandle reports whether somebody with the role r may make, rotate and revoke keys of another role: who could raise their
// own rights by it may not.
func (r Role) MayHandle(role Role) bool {
	return role == RoleCaller && r.Can(WriteTenants) || r.Can(WriteRoles)
}

// Known reports whether there is such a role.
func (r Role) Known() bool { _, ok := may[r]; return ok }

// Roles lists the roles in alphabetical order.
func Roles() []Role {
	return []Role{RoleAdmin, RoleAuditor, RoleCaller, RoleMetrics, RoleOperator, RoleViewer}
}
