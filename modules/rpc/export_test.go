package rpc

import "time"

// SetGrace changes how long requests under way may take once the node stops.
func (s *Server) SetGrace(d time.Duration) { s.grace = d }
