package execution

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tandem-node/tandem/modules/block"
)

const crashDirEnv, crashNameEnv = "EXECUTION_CRASH_DIR", "EXECUTION_CRASH_NAME"

func crashConfig(name string) Config {
	cfg := Default()
	cfg.Name, cfg.KeepVersions, cfg.KeepUnfinal = name, 20, 40 // prune while being killed
	return cfg
}

func crashBlock(height uint64) block.Execution {
	e := block.Execution{Height: height}
	if height%3 == 0 {
		return e
	}
	for i := range height % 20 {
		e.Txs = append(e.Txs, fmt.Appendf(nil, "key-%d=%0*d", (height+i*i)%37, 1+int(height%400), height))
	}
	return e
}

// lastWriting returns the last height up to a given one whose block writes. What
// comes after it is only counted in memory.
func lastWriting(height uint64) uint64 {
	for height > 0 && len(crashBlock(height).Txs) == 0 {
		height--
	}
	return height
}

// TestCrashChild is the process that gets killed.
func TestCrashChild(t *testing.T) {
	dir, name := os.Getenv(crashDirEnv), os.Getenv(crashNameEnv)
	if dir == "" {
		t.Skip("only as a child of TestCrash")
	}
	k := openForCrash(t, name, dir)
	height, err := k.(HeightProvider).LatestHeight(t.Context())
	require.NoError(t, err)
	for {
		height++
		if _, err := k.ExecuteTxs(t.Context(), crashBlock(height)); err != nil {
			t.Fatal(err)
		}
		if height%5 == 0 {
			require.NoError(t, k.SetFinal(t.Context(), height-3))
		}
		if height%97 == 0 { // killed while rolling back, too
			height -= 11
			fmt.Fprintf(os.Stdout, "back to %d\n", height)
			require.NoError(t, k.(Rollbacker).Rollback(t.Context(), height))
		}
		fmt.Fprintf(os.Stdout, "executed %d\n", height)
	}
}

func openForCrash(t *testing.T, name, dir string) Executor {
	t.Helper()
	k, err := New(crashConfig(name), dir, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, k.(Lifecycle).Open(t.Context()))
	_, err = k.InitChain(t.Context(), testGenesis(1))
	require.NoError(t, err)
	return k
}

// A process killed at any point leaves the state of a block: the last one it
// reported, or one that runs again from the last one that wrote.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, name := range []string{NameKV, NameEvolveKV} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			control := openForCrash(t, name, t.TempDir())
			defer func() { require.NoError(t, control.(Lifecycle).Close()) }()
			roots := [][]byte{}
			genesis, err := control.InitChain(t.Context(), testGenesis(1))
			require.NoError(t, err)
			roots = append(roots, genesis)
			for round := range 8 {
				reported := runAndKill(t, name, dir, 1+rand.IntN(150))
				k := openForCrash(t, name, dir)
				info, err := k.(InfoProvider).Info(t.Context())
				require.NoError(t, err)
				for h := uint64(len(roots)); h <= info.Height; h++ {
					res, err := control.ExecuteTxs(t.Context(), crashBlock(h))
					require.NoError(t, err)
					roots = append(roots, res.StateRoot)
				}
				require.Equal(t, roots[info.Height], info.Root, "round %d: state at height %d", round, info.Height)
				require.GreaterOrEqual(t, info.Height, lastWriting(reported), "round %d: more than blocks without writes are lost", round)
				require.NoError(t, k.(Lifecycle).Close())
			}
		})
	}
}

// runAndKill returns the height last reported.
func runAndKill(t *testing.T, name, dir string, lines int) (height uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashDirEnv+"="+dir, crashNameEnv+"="+name)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	read := bufio.NewScanner(out)
	for n := 0; read.Scan(); n++ {
		if n == lines {
			require.NoError(t, child.Process.Kill())
		}
		var h uint64
		if c, _ := fmt.Sscanf(read.Text(), "executed %d", &h); c == 1 {
			height = h
		} else if c, _ := fmt.Sscanf(read.Text(), "back to %d", &h); c == 1 {
			height = h
		} else {
			t.Fatal(read.Text())
		}
	}
	_ = child.Wait() // killed
	return height
}
