package app

import (
	"fmt"

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
