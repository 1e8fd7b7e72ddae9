package progress

import (
	"context"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"
)

const (
	longWork = 500 // from how much left on it is shown
	nearHead = 10  // how little left ends it

	logEvery  = 10 * time.Second
	drawEvery = 500 * time.Millisecond
)

// Task is work whose end may move while it is done.
type Task struct {
	Unit  string        // what is counted: "blocks"
	Done  func() uint64 // how far it is
	Total func() uint64 // how far it is to go
}

func (t Task) left() uint64 {
	done, total := t.Done(), t.Total()
	return total - min(total, done)
}

// Params are the parts of a Reporter.
type Params struct {
	// Changed returns a channel that is closed at the next step of any task.
	Changed func() <-chan struct{}
	// Begun returns a channel that is closed when a task may have become long before
	// its first step; nil where that cannot be.
	Begun func() <-chan struct{}
	Tasks []Task
	// Terminal is where bars are drawn; nil writes log lines instead.
	Terminal io.Writer
	Log      *zap.Logger
}

// Reporter watches tasks. See Run.
type Reporter struct{ p Params }

// New returns a reporter that shows nothing until Run.
func New(p Params) *Reporter { return &Reporter{p: p} }

// Run shows every task that has a long way to go, until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		changed, begun := r.p.Changed(), (<-chan struct{})(nil)
		if r.p.Begun != nil {
			begun = r.p.Begun()
		}
		for _, t := range r.p.Tasks {
			if t.left() > longWork {
				r.show(ctx, t)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-begun:
		}
	}
}

// show reports a task until little is left of it.
func (r *Reporter) show(ctx context.Context, t Task) {
	from, begin := t.Done(), time.Now()
	v := r.view(t, from, begin)
	tick := time.NewTicker(v.every)
	defer tick.Stop()
	for t.left() > nearHead {
		select {
		case <-ctx.Done():
			v.finish()
			return
		case <-tick.C:
			v.report()
		}
	}
	v.finish()
	done, took := gained(t.Done(), from), time.Since(begin)
	r.p.Log.Info("caught up", zap.String("unit", t.Unit), zap.Uint64("at", t.Done()), zap.Uint64("done", done),
		zap.Duration("took", took.Round(time.Millisecond)), zap.Float64("per_second", perSecond(done, took)))
}

// view is one way of showing a task.
type view struct {
	every  time.Duration
	report func()
	finish func()
}

func (r *Reporter) view(t Task, from uint64, begin time.Time) view {
	if r.p.Terminal != nil {
		return bar(r.p.Terminal, t, from)
	}
	return view{every: logEvery, finish: func() {}, report: func() {
		done := gained(t.Done(), from)
		rate := perSecond(done, time.Since(begin))
		fields := []zap.Field{
			zap.String("unit", t.Unit), zap.Uint64("at", t.Done()), zap.Uint64("of", t.Total()), zap.Float64("per_second", rate),
		}
		if rate > 0 {
			eta := time.Duration(float64(t.left()) / rate * float64(time.Second))
			fields = append(fields, zap.Duration("eta", eta.Round(time.Second)))
		}
		r.p.Log.Info("catching up", fields...)
	}}
}

func bar(out io.Writer, t Task, from uint64) view {
	b := progressbar.NewOptions64(1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("catching up"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(t.Unit),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	return view{
		every: drawEvery,
		report: func() {
			b.ChangeMax64(int64(gained(t.Total(), from))) //nolint:gosec // heights stay far below 2^63
			_ = b.Set64(int64(gained(t.Done(), from)))    //nolint:gosec // as above
		},
		finish: func() { _ = b.Finish() },
	}
}

func gained(now, from uint64) uint64 { return now - min(now, from) }

// perSecond is rounded to a tenth.
func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(int64(float64(n)/d.Seconds()*10)) / 10
}
