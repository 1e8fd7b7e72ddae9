// Package rpc is the window into a running node: the evnode.v1 services over
// Connect, gRPC and gRPC-Web, health probes, status as JSON and Prometheus
// metrics, all on one port. Everything is read-only but the executor's own
// endpoints, which take transactions.
//
// It does not decide anything: what it shows it is given through interfaces.
package rpc
