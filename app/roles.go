package app

import (
	"go.uber.org/fx"

	"github.com/tandem-node/tandem/modules/chainstore"
	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/modules/daworker"
	"github.com/tandem-node/tandem/modules/exchange"
	"github.com/tandem-node/tandem/modules/execution"
	"github.com/tandem-node/tandem/modules/forced"
	"github.com/tandem-node/tandem/modules/leveldb"
	"github.com/tandem-node/tandem/modules/notifier"
	"github.com/tandem-node/tandem/modules/p2p"
	"github.com/tandem-node/tandem/modules/pipeline"
	"github.com/tandem-node/tandem/modules/profiling"
	"github.com/tandem-node/tandem/modules/progress"
	"github.com/tandem-node/tandem/modules/referee"
	"github.com/tandem-node/tandem/modules/rpc"
	"github.com/tandem-node/tandem/modules/sequencer"
	"github.com/tandem-node/tandem/modules/syncer"
)

// Role is what a node does on its chain.
type Role uint8

// The roles.
const (
	RoleFull      Role = iota + 1 // follows both sources, executes
	RoleSequencer                 // a full node that also makes the blocks
	RoleLight                     // headers only, checked against DA
)

// roles is the table of all roles. Order of modules is order of start.
func roles() map[Role]struct {
	name    string
	modules []fx.Option
} {
	return map[Role]struct {
		name    string
		modules []fx.Option
	}{
		RoleFull: {"full", []fx.Option{
			leveldb.Module(), chainstore.Module(), notifier.Module(), execution.Module(), pipeline.Module(),
			p2p.Module(), exchange.Module(), da.Module(), daworker.Module(), syncer.Module(), referee.Module(), forced.WatchModule(), progress.Module(), rpc.Module(), profiling.Module(),
		}},
		RoleSequencer: {"sequencer", []fx.Option{
			leveldb.Module(), chainstore.Module(), notifier.Module(), execution.Module(), pipeline.Module(),
			p2p.Module(), exchange.Module(), da.Module(), daworker.Module(), syncer.Module(), referee.Module(), forced.TakeModule(), sequencer.Module(), rpc.Module(), profiling.Module(),
		}},
		RoleLight: {"light", []fx.Option{
			leveldb.Module(), chainstore.Module(), notifier.Module(), pipeline.Module(),
			p2p.Module(), exchange.HeadersModule(), da.Module(), daworker.Module(), syncer.HeadersModule(), referee.Module(), progress.Module(), rpc.Module(), profiling.Module(),
		}},
	}
}

// Name returns the role as it stands in the config.
func (r Role) Name() string { return roles()[r].name }

// Modules returns what the role is made of.
func (r Role) Modules() []fx.Option { return roles()[r].modules }

// Produces reports whether the role makes blocks.
func (r Role) Produces() bool { return r == RoleSequencer }

// Executes reports whether the role runs an executor.
func (r Role) Executes() bool { return r != RoleLight }

// RoleNames returns the names a config may use.
func RoleNames() []string { return []string{RoleFull.Name(), RoleLight.Name(), RoleSequencer.Name()} }

// RoleByName returns the role of a name.
func RoleByName(name string) (Role, bool) {
	for r, row := range roles() {
		if row.name == name {
			return r, true
		}
	}
	return 0, false
}
