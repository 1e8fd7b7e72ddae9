package report

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Size of the pictures.
const (
	width  = 18 * vg.Centimeter
	height = 10 * vg.Centimeter
)

// SavePlots draws every plot as an SVG file in dir.
func (r *Report) SavePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("plots: %w", err)
	}
	for _, p := range r.Plots {
		if err := p.save(dir); err != nil {
			return fmt.Errorf("plot %s: %w", p.File, err)
		}
	}
	return nil
}

func (p *Plot) save(dir string) error {
	out := plot.New()
	out.Title.Text, out.X.Label.Text, out.Y.Label.Text = p.Title, p.XLabel, p.YLabel
	out.BackgroundColor = color.White
	if p.LogX {
		out.X.Scale, out.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if p.LogY {
		out.Y.Scale, out.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		out.Y.Min = 0
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 225}, color.Gray{Y: 240}
	out.Add(grid)
	for i, l := range p.Lines {
		if err := add(out, i, l); err != nil {
			return err
		}
	}
	out.Legend.Top, out.Legend.Left = true, true
	out.Legend.Padding = vg.Millimeter
	if err := out.Save(width, height, filepath.Join(dir, p.File+".svg")); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// few is up to how many points of a line are marked.
const few = 40

func add(to *plot.Plot, i int, l Line) error {
	points := make(plotter.XYs, len(l.X))
	for j := range points {
		points[j].X, points[j].Y = l.X[j], l.Y[j]
	}
	curve, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Name, err)
	}
	curve.Color, curve.Width = plotutil.Color(i), vg.Points(1.5)
	curve.Dashes = plotutil.Dashes(i / len(plotutil.DefaultColors))
	marks.Color, marks.Shape, marks.Radius = plotutil.Color(i), draw.CircleGlyph{}, vg.Points(2.5)
	to.Add(curve)
	if len(points) > few {
		to.Legend.Add(l.Name, curve)
		return nil
	}
	to.Add(marks)
	to.Legend.Add(l.Name, curve, marks)
	return nil
}
