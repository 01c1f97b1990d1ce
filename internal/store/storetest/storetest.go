// Package storetest is what every store must do, whatever engine it stands on: one suite of tests, run on each.
//
// It knows nothing of SQL and of files: how an engine fails, recovers and migrates is for that engine's own tests.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/stop"
	"github.com/penstock/penstock/internal/usage"
)

// A Store is all that a store is to its consumers.
type Store interface {
	auth.Store
	usage.Store
	usage.Summer
	catalog.Store
	audit.Store
	stop.Store
	limit.Store
	health.Store
	// Declare makes changes of tenants and prices together, on the versions given: admin.Declarer.
	Declare(ctx context.Context, c auth.Changes, priceVersion int64, prices []catalog.Override, limits limit.Changes) error
	bodies.Store
	conversation.Store
	idempotency.Store
	rate.Store
	retention.Store
	retention.HoldStore
	escrow.Store
	ledger.Store
	// SealedBodies counts bodies by the id of their data key: admin.Options.Sealed.
	SealedBodies(ctx context.Context) (map[string]int64, error)
}

// Run runs the suite. Each call of open makes a store that is empty, and closes it when the test that it is given ends.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Store){
		"projects":                    testProjects,
		"project names":               testProjectNames,
		"changes at once":             testChangesAtOnce,
		"keys":                        testKeys,
		"key names":                   testKeyNames,
		"revoke":                      testRevoke,
		"rotate":                      testRotate,
		"update key":                  testUpdateKey,
		"declare":                     testDeclare,
		"touch":                       testTouch,
		"all keys, and their version": testAllKeys,
		"settings":                    testSettings,
		"admins at once":              testAdminsAtOnce,
		"tenants against a model":     testTenantsAgainstModel,
		"replicas":                    testReplicas,
		"prices":                      testPrices,
		"prices against a model":      testPricesAgainstModel,
		"stops":                       testStops,
		"budgets":                     testBudgets,
		"limits":                      testLimits,
		"tiers":                       testTiers,
		"versions of definitions":     testVersionsGoOn,
		"budgets against a model":     testBudgetsAgainstModel,
		"changes on a version":        testChangesOnAVersion,
		"corrections under a key":     testCorrectionsUnderAKey,
		"windows of budgets":          testWindows,
		"ejections":                   testEjections,
		"disabled targets":            testDisabled,
		"audit":                       testAudit,
		"audit is atomic":             testAuditIsAtomic,
		"audit at once":               testAuditAtOnce,
		"audit filters":               testAuditFilters,
		"bodies":                      testBodies,
		"many bodies":                 testManyBodies,
		"sealed bodies":               testSealedBodies,
		"purge":                       testPurge,
		"responses":                   testResponses,
		"purge of responses":          testPurgeResponses,
		"idempotency keys":            testKeysOnce,
		"idempotency keys at once":    testKeysAtOnce,
		"purge of idempotency keys":   testPurgeKeysOnce,
		"rates":                       testRates,
		"rates of the gone":           testRatesGone,
		"rates at once":               testRatesAtOnce,
		"rates over replicas":         testRatesOverReplicas,
		"holds":                       testHolds,
		"leases":                      testEscrow,
		"leases against a model":      testEscrowAgainstModel,
		"leases at once":              testEscrowAtOnce,
		"leases in banks":             testBanks,
		"ledger":                      testLedger,
		"ledger at once":              testLedgerAtOnce,
		"retention":                   testRetention,
		"retention against a model":   testRetentionAgainstModel,
		"retention and holds":         testRetentionHolds,
		"retention and writers":       testRetentionAtOnce,
		"records":                     testRecords,
		"records are walls":           testRecordsAreWalls,
		"records twice":               testRecordsTwice,
		"records in order":            testRecordsInOrder,
		"journal positions":           testJournalPositions,
		"odd records":                 testOddRecords,
		"filters":                     testFilters,
		"traces":                      testTraces,
		"records against a model":     testRecordsAgainstModel,
		"sums":                        testSums,
		"sums of absurd numbers":      testAbsurdSums,
		"series":                      testSeries,
		"latencies":                   testLatencies,
		"days of zones":               testZones,
		"sums equal records":          testSumsEqualRecords,
		"sums at once":                testSumsAtOnce,
		"readers while writing":       testReadersWhileWriting,
		"hostile text":                testHostileText,
		"contexts":                    testContexts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// day is a moment to count from; stores keep microseconds.
var day = time.Date(2026, 11, 24, 13, 40, 0, 123456000, time.UTC)

// checks is how often a property is tried, each time in a project of its own: fewer than rapid would, as stores are slow.
const checks = 30

// same fails the test if got is not what is wanted. Empty and nil lists and maps are the same.
func same[T any](t rapid.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (- wanted, + got):\n%s", what, diff)
	}
}

// must fails the test at once if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err is a fault of the code, with words for the one who asked.
func refused(t testing.TB, err error, code fault.Code) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code || f.Message == "" {
		t.Errorf("got %v, want a fault %s", err, code)
	}
}
