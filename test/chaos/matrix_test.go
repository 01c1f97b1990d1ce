package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// moneyFaults are the faults of money, rates and clocks, and the tests that play each of them: some beside the code, where all else can
// be kept still, and some here, around processes. Faults 3 and 4 are of a cache server that Penstock does not have.
var moneyFaults = []struct {
	fault string
	tests string // DIRECTORY.TEST, several with spaces between
}{
	{"1: a burst at the limit", "internal/server.TestFault1 internal/escrow.TestNeverOver"},
	{"2: a burst over replicas", "test/chaos.TestMoneyOverReplicas internal/store/storetest.testBanks"},
	{"5: a stream without usage", "internal/server.TestFaults5To8 internal/server.TestMissingUsageIsEstimated"},
	{"6: usage that is zero", "internal/server.TestFaults5To8"},
	{"7: usage that comes in parts", "internal/server.TestFaults5To8"},
	{"8: usage that comes twice", "internal/server.TestFaults5To8"},
	{"9: more is billed than was reserved", "internal/server.TestFault9 internal/limit.TestOverruns internal/escrow.TestOverrunsAreMadeUpFor"},
	{"10: a try bills and fails, another answers", "internal/server.TestFault10 internal/server.TestFault10BothTriesAreBooked"},
	{"12: a price changes during a call", "internal/server.TestFault12"},
	{"13: deadlocks and failed serializations", "internal/store.TestFault13 internal/store.TestWhatIsGivenUpAtCommitIsForgotten internal/store.TestADeadlockIsSolved internal/store.TestGivenUpAtCommit test/chaos.TestCommitsThatAreGivenUp"},
	{"14: refunds that are provoked", "internal/server.TestFault14"},
	{"15: a route that spends is forgotten", "internal/server.TestFault15 internal/server.TestControl57EveryRouteThatSpendsIsTheSame test/chaos.TestEveryRoute"},
	{"16: fields that nobody knows", "internal/admin.TestReadBackEqualsWrite internal/admin.TestBudgetsThatAreRefused"},
	{"17: amounts that are none", "internal/server.TestFault17 internal/admin.TestBudgetsThatAreRefused"},
	{"18: equal idempotency keys", "internal/server.TestFault18 test/chaos.TestFault18KilledBetweenDispatchAndStore"},
	{"19: a limit is lowered below its use", "internal/server.TestFault19 internal/escrow.TestALoweredLimitBindsAtOnce internal/rate.TestLowered internal/rate.TestLoweredOverReplicas"},
	{"20: every way out", "internal/server.TestFault20 internal/limit.TestAPanicHoldsNothing internal/admission.TestSlotsNeverLeak internal/rate.TestSlotsComeBack"},
	{"21: a replica is killed with slots", "test/chaos.TestCallsAtOnceOverReplicas internal/rate.TestKilledWithSlots"},
	{"22: a refused request uses nothing", "internal/server.TestFault22 internal/rate.TestRefusedUsesNothing internal/admission.TestRefusalCostsNothing"},
	{"23: a limit over replicas", "test/chaos.TestCallsAtOnceOverReplicas internal/rate.TestReplicasAgainstJudge"},
	{"24: a burst over the edge of a minute", "internal/server.TestFault24 test/chaos.TestRequestsOverReplicas internal/rate.TestWindowHasNoEdges"},
	{"77: clocks step", "internal/server.TestFaults77And78 internal/limit.TestFault77ClockSteps internal/health.TestFault77TheClockIsSet test/chaos.TestOneWindowWhateverClocksSay"},
	{"78: months end, and clocks change", "internal/window.TestResets internal/server.TestFaults77And78 test/chaos.TestOneWindowWhateverClocksSay"},
}

// The tests that are said to play the faults of money are there.
func TestTheFaultsOfMoneyArePlayed(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for _, f := range moneyFaults {
		for one := range strings.FieldsSeq(f.tests) {
			dir, name, _ := strings.Cut(one, ".")
			if _, ok := texts[dir]; !ok {
				files, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(dir), "*.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					texts[dir] += string(text)
				}
			}
			if !strings.Contains(texts[dir], "\nfunc "+name+"(t ") {
				t.Errorf("fault %s: there is no test %s in %s", f.fault, name, dir)
			}
		}
	}
}
