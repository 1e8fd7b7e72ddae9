package daworker

// reason says why a blob was rejected.
type reason uint8

const (
	junkNamespace reason = iota // not one of ours, or not the one of its kind
	junkSize                    // empty, or larger than any honest blob
	junkRepeat                  // the same bytes again in one DA height
	junkForeign                 // no header or data of this chain
	junkMalformed               // does not decode
	junkHeight                  // below the initial height
	junkProposer                // not by the expected proposer
	junkStructure               // breaks a rule that needs no key
	junkSignature               // signature missing or wrong
	junkEnvelope                // bare header after enveloped ones were seen
	junkEmpty                   // data without transactions
	reasons
)

// String returns the name used in logs and metrics.
func (r reason) String() string {
	return [...]string{
		"namespace", "size", "repeat", "foreign", "malformed", "height",
		"proposer", "structure", "signature", "envelope", "empty", "unknown",
	}[min(r, reasons)]
}

// junk counts rejected blobs by reason.
type junk [reasons]uint64

func (j *junk) add(o junk) {
	for i, n := range o {
		j[i] += n
	}
}

func (j *junk) total() uint64 {
	var sum uint64
	for _, n := range j {
		sum += n
	}
	return sum
}

func (j *junk) byName() map[string]uint64 {
	out := make(map[string]uint64)
	for i, n := range j {
		if n > 0 {
			out[reason(i).String()] = n
		}
	}
	return out
}
