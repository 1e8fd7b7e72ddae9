package block

import "google.golang.org/protobuf/encoding/protowire"

// MaxForcedTxBytes is the longest transaction that can be forced through DA: one
// that fits a data blob with all that is around it. It is the same for all nodes of
// all chains.
const MaxForcedTxBytes = MaxBlobBytes - 64<<10

// FramedTx is what a transaction adds to encoded data: tag, length, bytes.
func FramedTx(tx []byte) int { return protowire.SizeTag(2) + protowire.SizeBytes(len(tx)) }
