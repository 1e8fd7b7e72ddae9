// Package stream holds peers that are hostile in how they use gossip and streams, to
// be pointed at nodes in tests: FloodSub peers, messages made by others, answers that
// stall or do not end, requests that are not read. What such items may look like is
// in the package above.
//
//	p, err := stream.NewPeer(ctx, stream.Config{ChainID: "c1"})
//	defer p.Close()
//	err = p.Connect(ctx, victim)                         // a peer.AddrInfo
//	err = p.Gossip(ctx, stream.Headers, body)           // any bytes, on the topic of headers or data
//	err = p.GossipAs(ctx, stream.Headers, key, body)    // relayed: made under another key
//	p.Serve(stream.Headers, stream.Claim(far))         // answers of the range protocol
//	n, err := p.Ask(ctx, victim.ID, stream.Headers, from, amount) // bytes of the victim's answer
//	n := p.Slow(ctx, victim.ID, stream.Data, 64)        // requests it opens and does not read
//	n = p.Half(ctx, victim.ID, stream.Data, 64)         // requests it opens and does not end
//	s, err := p.Frames(ctx, victim.ID)                 // gossip written by hand, of a bare peer
//	frame, err := p.Message(stream.Data, key, body)    // to be written there, whole or in part
//
// A Responder answers one request: Honest serves a list of items, Claim tells a head
// and denies the rest, Garbage, Stall, Endless and Wrong lie. They can be combined by
// Heads, which answers requests for the head by one and ranges by another. Bodies
// are made with EncodeP2P of modules/block; Far and Forged make some.
//
// A Peer is a FloodSub peer unless Config.Mesh is set. It keeps no state that a node
// could learn from, and needs neither a store nor a genesis file.
package stream
