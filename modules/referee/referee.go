package referee

import (
	"context"

	"github.com/tandem-node/tandem/modules/notifier"
)

// Params are the parts of a Referee.
type Params struct {
	Notifier *notifier.Notifier
	// Wake makes one part look again; none may block.
	Wake []func()
	// Halted returns why the node has to stop, nil while it may go on. It is nil
	// again only after a restart.
	Halted func() error
}

// Referee passes on conflicts.
type Referee struct{ p Params }

// New returns a referee that does nothing until Run.
func New(p Params) *Referee { return &Referee{p} }

// Run works until ctx ends, or the node has to stop.
func (r *Referee) Run(ctx context.Context) error {
	sub := r.p.Notifier.Subscribe(notifier.Types(notifier.Conflict), notifier.Buffer(0), notifier.Name("referee"))
	defer sub.Close()
	for {
		if err := r.p.Halted(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sub.Ready:
		}
		for _, wake := range r.p.Wake {
			wake()
		}
	}
}
