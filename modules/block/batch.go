package block

// Batch is one atomic change of what a node has stored. The zero value of a
// field leaves that part as it is.
type Batch struct {
	Blocks      []Block     // bodies to store along with it, contiguous at the heads
	States      []State     // one per newly applied height, ascending
	Inclusions  []Inclusion // seen on DA; the first per height and kind stands
	Final       uint64      // new final height
	DA          DAPositions // how far DA was read
	DropPending bool        // forget the pending block
	DropRevert  bool        // forget the revert under way: it is done
	Sync        bool        // reach the disk before Commit returns
}

// DAPositions says how far a node has read DA. A position of 0 means not known;
// in a Batch it leaves the stored one as it is.
type DAPositions struct {
	// Floor is the DA height that a restart reads from. It is at or below every
	// height that holds something of the proposer's which is not stored yet.
	Floor uint64
	// Scanned is the DA height below which everything was read and handed over, by
	// this process or an earlier one. It is what may be concluded from: what was not
	// seen below it is not there, as far as DA said. It is never below Floor.
	Scanned uint64
}

// QueueChange is a step of the stored queue of transactions that wait for a
// block. Each has a position of its own; positions count up for ever.
type QueueChange struct {
	Drop, Keep uint64 // the positions Drop ≤ p < Keep leave
	At         uint64 // position of the first of Txs
	Txs        [][]byte
}

// Empty reports whether nothing changes.
func (c QueueChange) Empty() bool { return c.Drop >= c.Keep && len(c.Txs) == 0 }

// Revert is a rollback that was decided: all above To gives way to the chain on
// DA, of which Header is the next one. Without Header, what is above To was only
// stored, and by a proposer that turned out to be replaced.
type Revert struct {
	To       uint64
	DACursor uint64        // DA height to read from again
	Header   *SignedHeader // of height To+1, or nil
	DAHeight uint64        // where Header was seen
}

// Included says where the halves of one block were first seen on DA. A DA
// height of 0 means not seen yet.
type Included struct {
	HeaderHash Hash
	HeaderDA   uint64
	Commitment Hash
	DataDA     uint64
}
