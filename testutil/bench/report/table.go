package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table prints all figures as one table, in Markdown, aligned for terminals.
func (r *Report) Table(w io.Writer) error {
	rows := [][]string{{"figure", "unit", "median", "min–max", "CPU s", "target", "reached", "ev-node (noted)"}}
	for _, row := range r.Rows {
		rows = append(rows, row.cells())
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range rows {
		if err := line(w, row, widths); err != nil {
			return err
		}
		if i == 0 {
			rule := make([]string, len(widths))
			for j, width := range widths {
				rule[j] = strings.Repeat("-", width)
			}
			if err := line(w, rule, widths); err != nil {
				return err
			}
		}
	}
	return nil
}

// cells are the row's part of a table.
func (r *Row) cells() []string {
	cpu := ""
	if len(r.CPU) > 0 {
		cpu = Number(median(r.CPU))
	}
	return []string{r.Name, r.Unit, Number(r.Median()), span(r.Values), cpu, r.Target(), r.Verdict(), r.EvNode}
}

func line(w io.Writer, cells []string, widths []int) error {
	var b strings.Builder
	for i, cell := range cells {
		b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
	}
	b.WriteString("|\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

func span(values []float64) string {
	if len(values) < 2 {
		return ""
	}
	return Number(slices.Min(values)) + "–" + Number(slices.Max(values))
}

// Number writes a value with three digits that count, thousands apart.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return thousands(fmt.Sprintf("%.0f", v))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	case a == 0:
		return "0"
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

func thousands(digits string) string {
	const group = 3
	out := ""
	for len(digits) > group && digits[len(digits)-group-1] != '-' {
		out = "," + digits[len(digits)-group:] + out
		digits = digits[:len(digits)-group]
	}
	return digits + out
}
