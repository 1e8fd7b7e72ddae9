package testnet

import (
	"sync/atomic"
	"time"

	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/block"
)

// clock is the wall clock of a node's machine, which goes on while the node is down.
// Its times have no monotonic reading: who measures with it is found out.
type clock struct{ wrong atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.wrong.Load())).Round(0) }

func (c *clock) option() fx.Option { return fx.Replace(block.Clock(c.now)) }

// SetClock sets the node's wall clock wrong by so much; 0 sets it right. The node may
// run or be down.
func (x *Node) SetClock(wrong time.Duration) { x.clock.wrong.Store(int64(wrong)) }

// ClockError returns by how much the node's wall clock is wrong.
func (x *Node) ClockError() time.Duration { return time.Duration(x.clock.wrong.Load()) }
