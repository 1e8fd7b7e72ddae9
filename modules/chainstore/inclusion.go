package chainstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	header "github.com/celestiaorg/go-header"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/leveldb"
)

const includedSize = 2 * (block.HashSize + 8)

func encodeIncluded(in Included) (b [includedSize]byte) {
	copy(b[0:], in.HeaderHash[:])
	binary.BigEndian.PutUint64(b[32:], in.HeaderDA)
	copy(b[40:], in.Commitment[:])
	binary.BigEndian.PutUint64(b[72:], in.DataDA)
	return b
}

func decodeIncluded(b []byte) (Included, error) {
	if len(b) != includedSize {
		return Included{}, fmt.Errorf("inclusion has %d bytes, want %d", len(b), includedSize)
	}
	return Included{
		HeaderHash: block.Hash(b[0:32]), HeaderDA: binary.BigEndian.Uint64(b[32:]),
		Commitment: block.Hash(b[40:72]), DataDA: binary.BigEndian.Uint64(b[72:]),
	}, nil
}

// Inclusion returns where the block at height was first seen on DA, or
// header.ErrNotFound when no half of it was.
func (s *Store) Inclusion(_ context.Context, height uint64) (Included, error) {
	in, ok, err := s.inclusion(height, s.marks().included)
	if err == nil && !ok {
		err = fmt.Errorf("inclusion of %d: %w", height, header.ErrNotFound)
	}
	return in, err
}

// inclusion reads a record; there is none above top.
func (s *Store) inclusion(height, top uint64) (in Included, ok bool, err error) {
	if height > top {
		return in, false, nil
	}
	key := keyAt(nsInclusion, height)
	v, err := s.db.Get(key[:])
	if errors.Is(err, leveldb.ErrNotFound) {
		return in, false, nil
	}
	if err == nil {
		in, err = decodeIncluded(v)
	}
	if err != nil {
		return in, false, fmt.Errorf("inclusion of %d: %w", height, err)
	}
	return in, true, nil
}

// stageInclusions merges marks into the records of their heights. What a record
// says already stands.
func (s *Store) stageInclusions(b *leveldb.Batch, p *progress, ins []block.Inclusion) error {
	clear(s.included)
	for _, in := range ins {
		if in.Height == 0 || in.DAHeight == 0 {
			return fmt.Errorf("commit: inclusion of block %d at DA height %d: both must be set", in.Height, in.DAHeight)
		}
		record, ok := s.included[in.Height]
		if !ok {
			var err error
			if record, _, err = s.inclusion(in.Height, p.included); err != nil {
				return err
			}
		}
		switch {
		case in.Kind == block.KindHeader && record.HeaderDA == 0:
			record.HeaderHash, record.HeaderDA = in.Hash, in.DAHeight
		case in.Kind == block.KindData && record.DataDA == 0:
			record.Commitment, record.DataDA = in.Hash, in.DAHeight
		}
		s.included[in.Height] = record
	}
	for height, record := range s.included {
		key, v := keyAt(nsInclusion, height), encodeIncluded(record)
		b.Put(key[:], v[:])
		p.included = max(p.included, height)
	}
	return nil
}

// GenesisDAHeight returns the lower of the DA heights at which the halves of
// the first block were seen, 0 when none was yet.
func (s *Store) GenesisDAHeight() uint64 {
	g, err := s.readGenesis()
	if err != nil || g == nil {
		return 0
	}
	in, _, err := s.inclusion(g.initialHeight, s.marks().included)
	switch {
	case err != nil:
		return 0
	case in.HeaderDA == 0 || in.DataDA == 0:
		return max(in.HeaderDA, in.DataDA)
	}
	return min(in.HeaderDA, in.DataDA)
}

// HeaderHint returns the DA height at which the header was seen, 0 when not yet:
// what peers are told along with it.
func (s *Store) HeaderHint(height uint64) uint64 {
	in, _, err := s.inclusion(height, s.marks().included)
	if err != nil {
		return 0
	}
	return in.HeaderDA
}

// DataHint is HeaderHint for data. Data without transactions is not on DA and
// is where its header is.
func (s *Store) DataHint(height uint64) uint64 {
	in, _, err := s.inclusion(height, s.marks().included)
	if err != nil || in.DataDA != 0 || in.HeaderDA == 0 {
		return in.DataDA
	}
	if h, err := s.headers.load(height); err == nil && h.IsEmpty() {
		return in.HeaderDA
	}
	return 0
}
