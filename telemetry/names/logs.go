package names

// Keys of log fields that mean the same wherever they stand. Trace and span ids are
// added by package tracelog.
const (
	LogHeight   = "height"
	LogHash     = "hash" // the first eight hex digits
	LogSource   = "source"
	LogDAHeight = "da_height"
	LogTraceID  = "trace_id"
	LogSpanID   = "span_id"
)

// LogModules returns the names of loggers, whose levels can be set one by one.
func LogModules() []string {
	return []string{
		"chainstore", "da", "daworker", "exchange", "execution", "forced", "fx", "leveldb", "libp2p", "notifier", "p2p", "pipeline", "profiling", "rpc",
		"sequencer", "syncer", "telemetry",
	}
}
