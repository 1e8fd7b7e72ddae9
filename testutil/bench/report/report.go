package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Figure is one thing that is measured.
type Figure struct {
	Key    string  `json:"key"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Least  float64 `json:"least,omitempty"`   // the target, where more is better
	Most   float64 `json:"most,omitempty"`    // the target, where less is better
	EvNode string  `json:"ev_node,omitempty"` // of ev-node v1.2.3, noted from an earlier measurement: not of this run
}

// Target returns the target as text, nothing when there is none.
func (f Figure) Target() string {
	switch {
	case f.Least > 0:
		return "≥ " + Number(f.Least)
	case f.Most > 0:
		return "≤ " + Number(f.Most)
	}
	return ""
}

// Row is a figure and what its runs gave.
type Row struct {
	Figure

	Values []float64 `json:"values"`
	CPU    []float64 `json:"cpu_seconds,omitempty"` // of the process under test, one per run
}

// Median returns the median of the runs.
func (r Row) Median() float64 { return median(r.Values) }

// Verdict says whether the median reaches the target: "yes", or by which factor
// it is off; nothing without a target.
func (r Row) Verdict() string {
	var off float64
	switch {
	case r.Least > 0:
		off = r.Least / r.Median()
	case r.Most > 0:
		off = r.Median() / r.Most
	default:
		return ""
	}
	if off <= 1 {
		return "yes"
	}
	return fmt.Sprintf("off ×%.2f", off)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	const halves = 2
	return (sorted[mid-1] + sorted[mid]) / halves
}

// Line is one curve of a plot.
type Line struct {
	Name string    `json:"name"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
}

// Plot is one picture.
type Plot struct {
	File   string `json:"file"` // without extension
	Title  string `json:"title"`
	XLabel string `json:"x_label"`
	YLabel string `json:"y_label"`
	LogX   bool   `json:"log_x,omitempty"`
	LogY   bool   `json:"log_y,omitempty"`
	Lines  []Line `json:"lines"`
}

// Report is all of one run of the benchmarks.
type Report struct {
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Runs    int       `json:"runs"`
	Quick   bool      `json:"quick"`
	Rows    []*Row    `json:"figures"`
	Plots   []*Plot   `json:"plots"`
}

// Add records one run of a figure. A negative cpu means that it was not taken.
func (r *Report) Add(f Figure, value, cpu float64) {
	row := r.row(f)
	row.Values = append(row.Values, value)
	if cpu >= 0 {
		row.CPU = append(row.CPU, cpu)
	}
}

func (r *Report) row(f Figure) *Row {
	for _, row := range r.Rows {
		if row.Key == f.Key {
			return row
		}
	}
	row := &Row{Figure: f}
	r.Rows = append(r.Rows, row)
	return row
}

// Draw adds a line to the plot of p's file, which is made when it is new. A line
// of the same name is replaced.
func (r *Report) Draw(p Plot, line Line) {
	at := slices.IndexFunc(r.Plots, func(have *Plot) bool { return have.File == p.File })
	if at < 0 {
		r.Plots = append(r.Plots, &p)
		at = len(r.Plots) - 1
	}
	lines := slices.DeleteFunc(r.Plots[at].Lines, func(l Line) bool { return l.Name == line.Name })
	r.Plots[at].Lines = append(lines, line)
}

// Save writes the report as JSON into dir and returns the file's name.
func (r *Report) Save(dir string) (string, error) {
	out, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	name := filepath.Join(dir, r.Started.UTC().Format("20060102T150405Z")+".json")
	if err := os.WriteFile(name, append(out, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	return name, nil
}
