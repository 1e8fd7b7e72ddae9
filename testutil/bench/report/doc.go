// Package report collects what benchmarks measured, prints it as one table,
// keeps it as JSON and draws it as SVG.
package report
