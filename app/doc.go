// Package app puts the node together: the config is the sum of the modules'
// configs, a role is a list of modules, and Node binds what one module needs to
// what another offers. The instrumented stores are decorated here, and only
// here, so that every consumer sees them.
//
// It does not contain logic of its own: what a node does is in the modules.
package app
