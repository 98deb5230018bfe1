// Package field contains the errors of fields that users or other programs set.
package field

import (
	"fmt"
	"strings"
)

// Error is the error of one field. Path is the path of the field, such as pools[0].count. Message states what is
// wrong and what would be right.
type Error struct {
	Path, Message string
}

func (e Error) Error() string { return e.Path + ": " + e.Message }

// Errors contains all errors of an object, in the order of its fields.
type Errors []Error

// Error returns the number of errors, and a line for each.
func (e Errors) Error() string {
	noun := "errors"
	if len(e) == 1 {
		noun = "error"
	}
	text := fmt.Sprintf("%d %s:", len(e), noun)
	for _, err := range e {
		text += "\n  " + err.Error()
	}
	return text
}

// Add appends the error of the field at path.
func (e *Errors) Add(path, format string, args ...any) {
	*e = append(*e, Error{path, fmt.Sprintf(format, args...)})
}

// Covers reports whether e contains an error at path or at one of its parents.
func (e Errors) Covers(path string) bool {
	for _, err := range e {
		if path == err.Path || strings.HasPrefix(path, err.Path+".") || strings.HasPrefix(path, err.Path+"[") {
			return true
		}
	}
	return false
}

// Within reports whether e contains an error at a key of the object at path.
func (e Errors) Within(path string) bool {
	for _, err := range e {
		if strings.HasPrefix(err.Path, path+".") {
			return true
		}
	}
	return false
}
