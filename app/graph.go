package app

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/fx"
)

// Graph returns how the parts of a role are connected, in DOT. Nothing starts.
func Graph(s Setup) (string, error) {
	var dot fx.DotGraph
	a := fx.New(Node(s), fx.Populate(&dot))
	if err := a.Err(); err != nil {
		return "", fmt.Errorf("build the graph: %w", err)
	}
	return string(dot), nil
}

// GraphMermaid returns which modules of a role use which others, in Mermaid:
// what Graph shows of single parts, put together. A part that app binds counts
// as the use of what it is made from.
func GraphMermaid(s Setup) (string, error) {
	dot, err := Graph(s)
	if err != nil {
		return "", err
	}
	return readParts(dot).mermaid(), nil
}

// parts are the constructors of a DOT graph, by what they return.
type parts struct {
	module map[string]string   // of a constructor, empty when it belongs to none
	maker  map[string]string   // constructor of a type
	needs  map[string][]string // types a constructor takes
}

func readParts(dot string) parts {
	cluster := regexp.MustCompile(`(?s)label = "([^"]*)";\s+(constructor_\d+) \[[^\n]*\n(.*?)\n\t\}`)
	result := regexp.MustCompile(`(?m)^\t\t"([^"]+)" \[label`)
	edge := regexp.MustCompile(`(?m)^\t(constructor_\d+) -> "([^"]+)"`)
	p := parts{module: map[string]string{}, maker: map[string]string{}, needs: map[string][]string{}}
	for _, c := range cluster.FindAllStringSubmatch(dot, -1) {
		if strings.Contains(c[1], "/modules/") {
			p.module[c[2]] = path.Base(c[1])
		}
		for _, r := range result.FindAllStringSubmatch(c[3], -1) {
			p.maker[r[1]] = c[2]
		}
	}
	for _, e := range edge.FindAllStringSubmatch(dot, -1) {
		p.needs[e[1]] = append(p.needs[e[1]], e[2])
	}
	return p
}

// uses adds the modules whose parts a constructor takes, through those of none.
func (p parts) uses(constructor string, into map[string]bool) {
	for _, t := range p.needs[constructor] {
		if m := p.maker[t]; p.module[m] != "" {
			into[p.module[m]] = true
		} else {
			p.uses(m, into)
		}
	}
}

func (p parts) mermaid() string {
	used := map[string]map[string]bool{}
	for constructor, module := range p.module {
		if used[module] == nil {
			used[module] = map[string]bool{}
		}
		p.uses(constructor, used[module])
	}
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, module := range slices.Sorted(maps.Keys(used)) {
		delete(used[module], module)
		fmt.Fprintf(&b, "    %s\n", module)
		for _, other := range slices.Sorted(maps.Keys(used[module])) {
			fmt.Fprintf(&b, "    %s --> %s\n", module, other)
		}
	}
	return b.String()
}
