package sequencer

import (
	"errors"
	"fmt"

	"github.com/tandem-node/tandem/modules/da"
	"github.com/tandem-node/tandem/telemetry/problems"
)

// notice reports what keeps one kind of item from DA. Every condition of a lane is
// a problem of its own.
type notice struct {
	board *problems.Board
	kind  string
}

func (n notice) subject(condition string) string {
	if condition == "" {
		return n.kind
	}
	return n.kind + " " + condition
}

func (n notice) say(condition, reason string) {
	n.board.Report(problems.Problem{Kind: problems.Posting, Subject: n.subject(condition), Reason: reason})
}

func (n notice) over(condition string) { n.board.Clear(problems.Posting, n.subject(condition)) }

// advice says what an operator can do about a failed submission.
func advice(err error) string {
	switch {
	case errors.Is(err, da.ErrTooLarge):
		return "raise the limit of whatever is between this node and the DA layer, or name another endpoint in da.address"
	case errors.Is(err, da.ErrAuth):
		return "give da.auth_token write rights"
	case errors.Is(err, da.ErrGas):
		return "take gas out of da.submit_options, or raise it"
	case errors.Is(err, da.ErrFee):
		return "fund the account that posts, and check the gas price in da.submit_options"
	case errors.Is(err, da.ErrRejected):
		return "check da.submit_options and the namespaces"
	}
	return "check that the endpoints in da.address work"
}

// failing is the reason of a lane that cannot post from a height on.
func failing(kind fmt.Stringer, height uint64, err error) string {
	return fmt.Sprintf("%s %d and what follows cannot be posted to the DA layer: %v; %s", kind, height, err, advice(err))
}
