package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUnfinalRemembersTheNewestOfEachGroup(t *testing.T) {
	var u unfinal
	at := func(n uint64) time.Time { return time.Unix(int64(n), 0) }
	u.push(3, at(3))
	u.push(7, at(7))
	require.Zero(t, u.final(2))
	require.Equal(t, at(3), u.final(3))
	require.Zero(t, u.final(6))
	require.Equal(t, at(7), u.final(7))
	require.Zero(t, u.final(7), "once")
	for h := uint64(1); h <= mostUnfinal+2; h++ {
		u.push(h, at(h))
	}
	require.Zero(t, u.final(2), "gave way")
	require.Equal(t, at(3), u.final(3))
	require.Equal(t, at(mostUnfinal+2), u.final(mostUnfinal+2))
}
