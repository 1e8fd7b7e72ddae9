package evnode

import (
	"os"
	"testing"

	"github.com/celestiaorg/go-libp2p-messenger/serde"
	golog "github.com/ipfs/go-log/v2"
)

// maxFrame is what ev-node raises the limit of the range protocol to.
const maxFrame = 2 * maxGossip

func TestMain(m *testing.M) {
	serde.MaxMessageSize = maxFrame
	golog.SetAllLoggers(golog.LevelFatal) // go-header reports known items as errors
	m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
}
