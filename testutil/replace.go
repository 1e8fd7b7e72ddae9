package testutil

import "go.uber.org/fx"

// ReplaceAs replaces the node's T, which is usually an interface, by v. It goes
// beside app.Node, at the root, where the decorators of the node still wrap it.
// A bare fx.Replace(v) would replace the concrete type of v, which nobody asks
// for, and so change nothing.
func ReplaceAs[T any](v T) fx.Option {
	return fx.Replace(fx.Annotate(v, fx.As(new(T))))
}
