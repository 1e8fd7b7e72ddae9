package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
	"github.com/tandem-node/tandem/modules/signer"
	"github.com/tandem-node/tandem/telemetry"
)

// Sketch returns a setup that is good enough to draw the graph of a role: keys
// and genesis are made up, and nothing is written.
func Sketch(ctx context.Context, role Role) (Setup, error) {
	key, err := signer.Generate()
	if err != nil {
		return Setup{}, err
	}
	s := Setup{Role: role, Config: Default(), Signer: signer.NewGuarded(signer.NewLocal(key), "", "sketch"), Log: zap.NewNop()}
	s.Config.Role = role.Name()
	address := signer.NewLocal(key).Address()
	s.Genesis = block.Genesis{
		ChainID: "sketch", StartTime: time.Unix(1, 0).UTC(), InitialHeight: 1, ProposerAddress: address[:],
		DAEpochForcedInclusion: 1,
	}
	if s.NodeKey, err = NodeKeyOf(key); err != nil {
		return Setup{}, err
	}
	if s.Tracing, err = telemetry.NewTracing(ctx, s.Config.Tracing, s.Log); err != nil {
		return Setup{}, err
	}
	s.Metrics, err = telemetry.NewMetrics()
	return s, err
}
