package report

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Load reads what Save wrote.
func Load(name string) (*Report, error) {
	raw, err := os.ReadFile(name) //nolint:gosec // from the command line
	if err != nil {
		return nil, fmt.Errorf("load report: %w", err)
	}
	r := new(Report)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("load report %s: %w", name, err)
	}
	return r, nil
}

// tables are the headings of the document's tables of figures.
const (
	nameCell    = "| figure "
	machineLine = "Measured on "
)

// Refresh writes the figures of r into a document: into every row of its tables
// that is named like one of them, and into the line that says where they come
// from. It returns the names of figures that no table has.
func (r *Report) Refresh(document, source string) (fresh string, missing []string) {
	rows := make(map[string]*Row, len(r.Rows))
	for _, row := range r.Rows {
		rows[row.Name] = row
	}
	seen := make(map[string]bool)
	var out strings.Builder
	inTable := false
	for l := range strings.Lines(document) {
		switch {
		case strings.HasPrefix(l, nameCell):
			inTable = true
		case !strings.HasPrefix(l, "|"):
			inTable = false
		}
		if strings.HasPrefix(l, machineLine) {
			l = r.origin(source) + "\n"
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(l, "| "), " |")
		if row := rows[name]; inTable && row != nil {
			seen[name] = true
			l = "| " + strings.Join(row.cells(), " | ") + " |\n"
		}
		out.WriteString(l)
	}
	for _, row := range r.Rows {
		if !seen[row.Name] {
			missing = append(missing, row.Name)
		}
	}
	return out.String(), missing
}

// origin says what was measured where.
func (r *Report) origin(source string) string {
	m := r.Machine
	kernel, _, _ := strings.Cut(m.Kernel, "-")
	return fmt.Sprintf("%s%s, %d shared cores, %.0f GB, kernel %s, %s; `%s` (load of the machine before: %.1f). Medians of %d runs, with the least and the most.",
		machineLine, m.CPU, m.Cores, m.MemoryGB, kernel, m.Go, source, m.Load, r.Runs)
}
