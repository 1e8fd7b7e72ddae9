//go:build !race

package testnet

func oneProcessor() {}
