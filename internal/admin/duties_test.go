package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
)

// TestControl9SeparationOfDuties (security.md): who may change tenants and prices cannot rewrite what is said of it, nobody
// can; and who watches changes nothing.
func TestControl9SeparationOfDuties(t *testing.T) {
	t.Parallel()
	harmless := map[string]bool{
		"POST /admin/v1/audit/checkpoint": true, // it makes the chain harder to bend
		// They change what is kept for whoever watches, which nobody who is watched decides alone: each is an entry with a reason.
		"POST /admin/v1/holds": true, "POST /admin/v1/holds/{id}/lift": true,
	}
	for _, e := range admin.Endpoints() {
		name := e.Method + " " + e.Path
		if strings.HasPrefix(e.Path, "/admin/v1/audit") && e.Method != http.MethodGet && !harmless[name] {
			t.Errorf("%s changes the audit chain", name)
		}
		if e.Method == http.MethodGet || e.Permission == "" || harmless[name] {
			continue
		}
		for _, role := range []auth.Role{auth.RoleViewer, auth.RoleAuditor, auth.RoleMetrics, auth.RoleCaller} {
			if role.Can(e.Permission) {
				t.Errorf("the role %s may %s", role, name)
			}
		}
	}
	for _, role := range []auth.Role{auth.RoleOperator, auth.RoleViewer, auth.RoleMetrics, auth.RoleCaller} {
		if role.Can(auth.ReadAudit) {
			t.Errorf("the role %s, which is watched, reads the audit chain", role)
		}
	}
	for _, role := range auth.Roles() {
		if role.Can(auth.WriteRoles) && role != auth.RoleAdmin {
			t.Errorf("the role %s can give itself any other", role)
		}
	}
}
