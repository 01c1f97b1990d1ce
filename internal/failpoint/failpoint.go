// Package failpoint lets tests of faults end, stall or fail a process at one named place of its way, at the n-th pass.
//
// Only programs that are built with the tag faults look at it; in all others a pass is nothing. It is for the places where state
// changes hands: what a process that dies there leaves behind has to be taken up by the next one.
package failpoint

// The places, in the order in which a call passes them. Leases are taken, renewed and given back in trades; tries whose end is unknown
// are posted with the records of the next run; a month is closed by reading, so nothing changes hands there.
const (
	Reserved         = "reserved"          // from budgets; nothing is written
	IntentWritten    = "intent_written"    // the journal has the intent; nothing is sent
	Answered         = "answered"          // the provider has begun to answer
	Metered          = "metered"           // an event of a stream that may be ended at its reservation went to the client
	OutcomeWritten   = "outcome_written"   // the journal has how a try failed; no other was made
	Settling         = "settling"          // the answer has ended; nothing of that is written
	RecordWritten    = "record_written"    // the journal has the record; the client does not know
	RecordsInStore   = "records_in_store"  // in the transaction, before it is committed
	RecordsCommitted = "records_committed" // the process does not know yet
	TradeInStore     = "trade_in_store"    // as for records
	TradeCommitted   = "trade_committed"   //
	ReleaseInStore   = "release_in_store"  // what earlier runs held is given back, before that is committed
	Released         = "released"          // it was given back, and committed
	ActInStore       = "act_in_store"      // an operator's act, such as a settlement or a correction, before it is committed
	ActCommitted     = "act_committed"     // its operator does not know yet
)

// Places are those that calls, and what replicas do by themselves, come to.
func Places() []string {
	return []string{
		Reserved, IntentWritten, Answered, Metered, OutcomeWritten, Settling, RecordWritten, RecordsInStore, RecordsCommitted, TradeInStore, TradeCommitted,
		ReleaseInStore, Released,
	}
}

// Acts are those that only operators come to.
func Acts() []string { return []string{ActInStore, ActCommitted} }

// Variable is what says where: "PLACE=crash:3" is SIGKILL at the third pass, "PLACE=stall:3:2s" waits then, and "PLACE=error:3" has
// the pass give an error; several with commas between. SkewVariable is by how much the process's clock is wrong, such as "-1h".
const (
	Variable     = "PENSTOCK_FAILPOINTS"
	SkewVariable = "PENSTOCK_FAULT_CLOCK_OFFSET"
)
