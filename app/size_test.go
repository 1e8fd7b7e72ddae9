package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "67108864": 67108864, "64MiB": 64 << 20, "64 MiB": 64 << 20, "1GiB": 1 << 30, "2KiB": 2048, "3kB": 3000, "4KB": 4000, "5MB": 5e6, "6GB": 6e9, "7B": 7, "-1": -1,
	} {
		got, err := parseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "64M", "64 mib", "9223372036854775807KiB", "99999999999999999999"} {
		_, err := parseSize(text)
		require.ErrorContains(t, err, "is not a size", text)
	}
}

// TestSizesInEverySource: the file, the environment and flags take units alike.
func TestSizesInEverySource(t *testing.T) {
	flags := Flags()
	require.NoError(t, flags.Parse([]string{"--exchange.queue_bytes=96MiB"}))
	loaded, err := Load(Sources{Home: t.TempDir(), Flags: flags, Env: []string{"TANDEM_RPC_BODY_BYTES=32MiB"}})
	require.NoError(t, err)
	require.Equal(t, 96<<20, loaded.Config.Exchange.QueueBytes)
	require.Equal(t, 32<<20, loaded.Config.RPC.BodyBytes)
	require.True(t, loaded.Differs("exchange.queue_bytes"))
	require.False(t, loaded.Differs("exchange.park_bytes"))
	require.NoError(t, CheckConfig("rpc:\n  body_bytes: 32MiB\n", nil))
	require.ErrorContains(t, CheckConfig("rpc:\n  body_bytes: 32XB\n", nil), "is not a size")
}

func TestURLsAreShownWithoutSecrets(t *testing.T) {
	require.Equal(t, "[https://u:hidden@a/x?token=hidden http://b]", WithoutSecrets("[https://u:p@a/x?token=very-secret http://b]"))
	require.Equal(t, "/ip4/127.0.0.1/tcp/7676", WithoutSecrets("/ip4/127.0.0.1/tcp/7676"))
}

// TestChangesAreAConfig: what 'tandem init' writes is read back as it was given.
func TestChangesAreAConfig(t *testing.T) {
	text, err := RenderChanges(map[string]any{
		"role": "light", "rpc.address": "127.0.0.1:0", "sequencer.submit.max_bytes": 5, "sequencer.block_time": "5s", "execution.mempool.max_txs": 7, "p2p.peers": []string{},
	})
	require.NoError(t, err)
	l, err := newLoader()
	require.NoError(t, err)
	l.yaml("x", given(text))
	require.Empty(t, l.problems)
	require.Equal(t, "file", l.origin["execution.mempool.max_txs"])
	require.Equal(t, "5s", l.k.String("sequencer.block_time"))
	require.Equal(t, 5, l.k.Int("sequencer.submit.max_bytes"))
	require.Equal(t, "light", l.k.String("role"))
	_, err = RenderChanges(map[string]any{"rpc.adress": ""})
	require.ErrorContains(t, err, "no such config key: rpc.adress")
}
