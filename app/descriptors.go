package app

import (
	"fmt"

	"go.uber.org/zap"
)

// Descriptors a process needs beside those that a config bounds.
const (
	// baseFiles: logs, journals, locks, listeners, connections to DA, and dials under way.
	baseFiles = 48
	// executorFiles: the database of an executor.
	executorFiles = 16
	// leastFiles is the least a node starts with.
	leastFiles = 112
)

// fitDescriptors lowers what the config lets the parts open, so that together they
// stay below limit, the number of files this process may open. Clients of the API
// must not take what the databases need. A limit of 0 is none.
func (c Config) fitDescriptors(limit uint64, log *zap.Logger) (Config, error) {
	const most = 1 << 20
	if limit == 0 || limit > most {
		return c, nil
	}
	if limit < leastFiles {
		return c, fmt.Errorf("this process may open %d files, want at least %d: raise the limit (ulimit -n, or LimitNOFILE= of a systemd unit)", limit, leastFiles)
	}
	want := baseFiles + executorFiles + c.DB.OpenFiles + c.RPC.MaxConnections + 2*c.P2P.MaxPeers
	if uint64(want) <= limit { //nolint:gosec // checked by Validate: small and positive
		return c, nil
	}
	room := int(limit) - baseFiles - executorFiles
	const shares = 4 // files of tables, clients, and two for peers
	c.DB.OpenFiles = min(c.DB.OpenFiles, max(room/shares, leastOpenFiles))
	c.P2P.MaxPeers = min(c.P2P.MaxPeers, max(room/shares/2, 1))
	c.RPC.MaxConnections = min(c.RPC.MaxConnections, max(room-c.DB.OpenFiles-2*c.P2P.MaxPeers, leastConnections))
	log.Warn("this process may open few files, limits are lowered; raise the limit (ulimit -n, or LimitNOFILE= of a systemd unit)",
		zap.Uint64("limit", limit), zap.Int("want", want), zap.Int("db_open_files", c.DB.OpenFiles),
		zap.Int("p2p_max_peers", c.P2P.MaxPeers), zap.Int("rpc_max_connections", c.RPC.MaxConnections))
	return c, nil
}

// What leveldb and the API need at least, as their configs say.
const (
	leastOpenFiles   = 16
	leastConnections = 8
)
