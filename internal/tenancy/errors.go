package tenancy

import (
	"fmt"
	"strings"
)

// Error is one thing wrong with what a Plan is made of: where, and what would be right.
type Error struct {
	Path, Message string
}

func (e Error) Error() string { return e.Path + ": " + e.Message }

// Errors is everything wrong. They are not package cluster's, which has Settings in its Config.
type Errors []Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(path, format string, args ...any) {
	*e = append(*e, Error{path, fmt.Sprintf(format, args...)})
}
