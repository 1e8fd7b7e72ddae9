// Package telemetry makes the logger, the tracer and the meter that the node's
// parts are given. Nothing here is global: two nodes in one process have two
// sets.
//
// It does not know what is logged, traced or measured.
package telemetry
