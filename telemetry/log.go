package telemetry

import (
	"io"
	"log/slog"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a logger that writes to w, and its levels, which may be
// changed while it is in use.
func NewLogger(cfg LogConfig, w io.Writer) (*zap.Logger, *Levels, error) {
	levels, err := newLevels(cfg)
	if err != nil {
		return nil, nil, err
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	if cfg.Format == "json" {
		encoder = zapcore.NewJSONEncoder(enc)
	} else {
		enc.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		enc.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zapcore.DebugLevel)
	return zap.New(leveled{core, levels}), levels, nil
}

// RouteLibraries sends the errors of libraries that only have one log per
// process (libp2p, go-jsonrpc) to the given logger.
func RouteLibraries(log *zap.Logger) {
	core := log.Named("libp2p").WithOptions(zap.IncreaseLevel(zap.ErrorLevel)).Core()
	gologshim.SetDefaultHandler(zapslog.NewHandler(core))
	slog.SetDefault(slog.New(zapslog.NewHandler(core)))
	golog.SetPrimaryCore(core)
}
