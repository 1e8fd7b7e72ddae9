// Package syncer moves blocks from the stores, where every source leaves them,
// to the sink, which applies them.
//
// It is level-triggered. Each pass compares what the stores hold with what the
// sink wants next, and passes follow one another until nothing is missing; only
// then does the syncer wait for an event. Events carry no data and are not
// counted on: one fetch serves any number of them, a lost one costs nothing, and
// the first pass needs none, so that a restart on a quiet network catches up at
// once. While nothing arrives there is no timer and no wake-up.
//
// While the sink works on one range the next one is read, so that catching up
// takes the time of the slower of the two.
//
// Anything that grows between the last look and the wait has left an event in a
// subscription (see package notifier), which ends the wait at once.
//
// It does not verify, execute or store anything, and it is not the only one who
// may feed the sink: where the sink has moved on by itself, the syncer follows.
package syncer
