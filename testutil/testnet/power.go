package testnet

import (
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/testutil/powerdisk"
)

// Powered keeps the databases of a node on a disk whose power can be cut: see
// CutPowerAfter. What a cut leaves follows from the seed and the mode.
func Powered(seed uint64, mode powerdisk.Mode) NodeOption {
	return func(s *spec) { s.disk = powerdisk.New(seed, mode) }
}

// onDisk puts the node's databases on its disk.
func onDisk(d *powerdisk.Disk) fx.Option {
	return fx.Decorate(func(leveldb.Disk) leveldb.Disk { return d })
}

// CutPowerAfter cuts the node's power at one of the next operations of its disk.
// Nothing it does from then on is seen by anybody, but PowerUp has to bury it before
// it can start again. It may be called before Start.
func (x *Node) CutPowerAfter(operations int) {
	require.NotNil(x.net.t, x.spec.disk, "%s has no power to cut", x.Name())
	x.spec.disk.CutAfter(operations)
}

// PowerOff reports whether the power was cut since the last PowerUp.
func (x *Node) PowerOff() bool { return x.spec.disk.Off() }

// PowerUp starts the node again after its power was cut, or cuts it for a moment. It
// reports whether the power lasted until the node was up.
func (x *Node) PowerUp(cutAfter int) bool {
	x.net.t.Helper()
	x.spec.disk.Cut()
	if x.Running() {
		_ = x.stop() // it has to end, but has no power to end well
	}
	x.da = x.da.again()
	x.spec.disk.Restart()
	x.boots++
	x.spec.disk.CutAfter(cutAfter)
	x.Start()
	return x.Running()
}
