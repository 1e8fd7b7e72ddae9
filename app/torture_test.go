package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTortureNamesTests: every failure of docs/torture.md has a test, and every
// test it names exists. A name that ends in * stands for all that begin so.
func TestTortureNamesTests(t *testing.T) {
	text, err := os.ReadFile("../docs/torture.md")
	require.NoError(t, err)
	have := testNames(t)
	name := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*\\*?)`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		named := name.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			prefix, many := strings.CutSuffix(m[1], "*")
			require.True(t, slices.ContainsFunc(have, func(n string) bool {
				return n == prefix || many && strings.HasPrefix(n, prefix)
			}), "docs/torture.md names %s, which does not exist", m[1])
		}
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[len(cells)-2]) == "tests" {
			continue
		}
		rows++
		require.NotEmpty(t, named, "no test in: %s", line)
	}
	require.GreaterOrEqual(t, rows, 12+15, "rows")
}

// testNames returns the names of all tests and fuzz targets of the repository.
func testNames(t *testing.T) []string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	var out []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() != ".." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			out = append(out, string(m[1]))
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, out)
	return out
}
