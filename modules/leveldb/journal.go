package leveldb

import (
	"encoding/binary"
	"iter"
	"slices"

	"github.com/syndtr/goleveldb/leveldb/util"
)

// The format of journals and manifests: blocks of chunks, a record is one full
// chunk or a first one, any number of middle ones and a last one.
const (
	logBlock  = 32 << 10
	logHeader = 4 + 2 + 1 // checksum, length, kind

	chunkFull, chunkFirst, chunkMiddle, chunkLast = 1, 2, 3, 4
)

// logRecord is one readable record of a log.
type logRecord struct {
	data       []byte
	start, end int64
}

// logRecords returns all records that can be read, also those behind places that
// cannot be. goleveldb's own reader gives up a whole block for one bad byte.
func logRecords(log []byte) iter.Seq[logRecord] {
	return func(yield func(logRecord) bool) {
		var r logRecord
		open := false // r lacks its end
		for at := 0; at < len(log); {
			kind, data, next := chunkAt(log, at)
			switch kind {
			case chunkPadding:
			case chunkFull, chunkFirst:
				r, open = logRecord{start: int64(at), data: slices.Clone(data)}, true
			case chunkMiddle, chunkLast:
				r.data = append(r.data, data...)
			default:
				open = false
			}
			at = next
			if open && (kind == chunkFull || kind == chunkLast) {
				open, r.end = false, int64(at)
				if !yield(r) {
					return
				}
			}
		}
	}
}

const (
	chunkBad     = 0
	chunkPadding = -1
)

// chunkAt reads what stands at an offset, and where to look next: one byte further
// when it is nothing.
func chunkAt(log []byte, at int) (kind int, data []byte, next int) {
	end := min(len(log), (at/logBlock+1)*logBlock)
	if end-at < logHeader {
		return chunkPadding, nil, end // a header never crosses blocks
	}
	h := log[at:]
	size, kind := int(binary.LittleEndian.Uint16(h[4:])), int(h[6])
	if kind < chunkFull || kind > chunkLast || size > end-at-logHeader {
		return chunkBad, nil, at + 1
	}
	body := h[logHeader-1 : logHeader+size]
	if util.NewCRC(body).Value() != binary.LittleEndian.Uint32(h) {
		return chunkBad, nil, at + 1
	}
	return kind, body[1:], at + logHeader + size
}

// logState is what a log holds.
type logState struct {
	whole  int64 // everything before this offset can be read
	beyond int   // records that can be read behind a place that cannot be
	bad    bool  // there is such a place, at the end at least
	synced int64 // what records beyond claim to be synced
}

// inspect reads the log of a number.
func inspect(log []byte, number int64) logState {
	var s logState
	for r := range logRecords(log) {
		switch {
		case s.beyond == 0 && r.start == skipPadding(s.whole, log):
			s.whole = r.end
		default:
			s.beyond++
			s.synced = max(s.synced, claimed(number, r.data))
		}
	}
	s.bad = skipPadding(s.whole, log) < int64(len(log))
	return s
}

// skipPadding returns where the next record begins: no header crosses blocks.
func skipPadding(at int64, log []byte) int64 {
	if left := logBlock - at%logBlock; left < logHeader {
		return min(at+left, int64(len(log)))
	}
	return at
}
