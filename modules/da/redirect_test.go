package da

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNoRedirectIsFollowed: what is posted and the token go to the configured
// address alone, by HTTP and by WebSocket, and the error says what to change.
func TestNoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			other := newEndpoint(t, canned(http.StatusOK, result(`7`)))
			e := newEndpoint(t, func(_ string, w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL, status)
			})
			cfg := testConfig(e.URL + "?token=hush")
			cfg.AuthToken = "secret"
			c := newTestClient(t, cfg)
			_, err := c.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.ErrorIs(t, err, ErrUnavailable, "nothing was posted")
			require.NotErrorIs(t, err, ErrUnknown)
			require.ErrorContains(t, err, "set da.address to the address that answers itself")
			_, err = c.Head(t.Context())
			require.ErrorContains(t, err, "redirects to another address")
			_, err = c.Watch(t.Context())
			require.ErrorContains(t, err, "redirects to another address")
			other.mu.Lock()
			defer other.mu.Unlock()
			require.Empty(t, other.bodies)
		})
	}
}

// TestAccountErrorsAskTheNextEndpoint: an endpoint whose account cannot pay or
// sign has posted nothing, and another one may have an account that can.
func TestAccountErrorsAskTheNextEndpoint(t *testing.T) {
	for _, err := range []error{ErrFunds, ErrAccount, ErrGas, ErrTooLarge} {
		require.True(t, NothingPosted(fmt.Errorf("submit: %w", err)))
		synctest.Test(t, func(t *testing.T) {
			p, ends := scriptedPool(t, 2)
			ends[0].set(func(c *scripted) { c.fail = err })
			_, got := p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.NoError(t, got)
			ends[1].set(func(c *scripted) { c.fail = err })
			_, got = p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.ErrorIs(t, got, err)
		})
	}
	require.ErrorIs(t, ErrFunds, ErrFee)
	require.False(t, NothingPosted(nil))
	require.False(t, NothingPosted(fmt.Errorf("%w: %w", ErrUnknown, ErrFee)))
	require.False(t, NothingPosted(ErrBusy))
}

// TestTooLargeKeepsTheLead: a batch that is too large says nothing of the endpoint.
func TestTooLargeKeepsTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ends := scriptedPool(t, 2)
		for _, e := range ends {
			e.set(func(c *scripted) { c.fail = ErrTooLarge })
		}
		synctest.Wait()
		for range 40 {
			_, err := p.Submit(t.Context(), NamespaceOf("a"), [][]byte{{1}})
			require.ErrorIs(t, err, ErrTooLarge)
			require.Zero(t, p.posts())
			time.Sleep(6 * time.Second)
		}
		require.Zero(t, p.Endpoints()[0].Failures)
	})
}
