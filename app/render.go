package app

import (
	_ "embed"
	"fmt"
	"maps"
	"sort"
	"strings"
	"time"
)

// template is the config file with every key, its default and what it means.
// A test holds it against Default.
//
//go:embed config.yaml
var template string

// RenderConfig returns the commented config file with other values for some keys.
func RenderConfig(values map[string]any) (string, error) {
	left := make(map[string]any, len(values))
	maps.Copy(left, values)
	lines := strings.Split(template, "\n")
	walkTemplate(func(i int, key, _ string) {
		v, ok := left[key]
		if !ok {
			return
		}
		delete(left, key)
		head, _, _ := strings.Cut(lines[i], ":")
		lines[i] = head + ": " + yamlValue(v)
	})
	if len(left) > 0 {
		names := make([]string, 0, len(left))
		for k := range left {
			names = append(names, k)
		}
		sort.Strings(names)
		return "", fmt.Errorf("no such config key: %s", strings.Join(names, ", "))
	}
	return strings.Join(lines, "\n"), nil
}

// RenderChanges returns a config file that holds only the given keys, each with
// what the reference says about it.
func RenderChanges(values map[string]any) (string, error) {
	if _, err := RenderConfig(values); err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("# What this node sets. All keys, their defaults and what they mean: " + ReferenceFile + "\n")
	var open []string // sections that were begun
	walkTemplate(func(_ int, key, doc string) {
		v, ok := values[key]
		if !ok {
			return
		}
		path := strings.Split(key, ".")
		name := path[len(path)-1]
		for depth, section := range path[:len(path)-1] {
			if depth < len(open) && open[depth] == section {
				continue
			}
			open = append(open[:depth], section)
			fmt.Fprintf(&out, "%s%s:\n", strings.Repeat("  ", depth), section)
		}
		open = open[:len(path)-1]
		indent := strings.Repeat("  ", len(path)-1)
		if doc != "" {
			fmt.Fprintf(&out, "%s# %s\n", indent, doc)
		}
		fmt.Fprintf(&out, "%s%s: %s\n", indent, name, yamlValue(v))
	})
	return out.String(), nil
}

// RenderReference returns the commented file of all keys, which no node reads.
func RenderReference() string {
	return "# All keys with their defaults. This file is for reading: no node reads it. Set keys in " + ConfigFile + ".\n\n" + template
}

// KeyDocs returns what the template says about each key, on one line.
func KeyDocs() map[string]string {
	docs := map[string]string{}
	walkTemplate(func(_ int, key, doc string) { docs[key] = doc })
	return docs
}

// walkTemplate visits every key that has a value, with the comment above it, or above
// the keys before it that it is of.
func walkTemplate(visit func(line int, key, doc string)) {
	const indent = 2
	var path, comment []string
	commented := false // the comment is of a key already
	for i, line := range strings.Split(template, "\n") {
		text := strings.TrimSpace(line)
		switch {
		case text == "":
			comment = nil
		case strings.HasPrefix(text, "#"):
			if commented {
				comment, commented = nil, false
			}
			comment = append(comment, strings.TrimSpace(strings.TrimPrefix(text, "#")))
		default:
			name, value, _ := strings.Cut(text, ":")
			depth := (len(line) - len(strings.TrimLeft(line, " "))) / indent
			path = append(path[:depth], name)
			if strings.TrimSpace(value) == "" {
				comment = nil
				continue
			}
			visit(i, strings.Join(path, "."), strings.Join(comment, " "))
			commented = true
		}
	}
}

func yamlValue(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case time.Duration:
		return v.String()
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return fmt.Sprint(v)
	}
}
