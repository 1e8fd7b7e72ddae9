package execution

import (
	"math"
	"sync/atomic"
)

// keep is the height of the lowest state that may be asked for; see [Keeper].
type keep struct{ height atomic.Pointer[uint64] }

func (k *keep) from(height uint64) { k.height.Store(&height) }

// lowest returns the height, the highest there is when nobody has named one.
func (k *keep) lowest() uint64 {
	if h := k.height.Load(); h != nil {
		return *h
	}
	return math.MaxUint64
}
