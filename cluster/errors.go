package cluster

import (
	"fmt"
	"strings"
)

// Error is one error in a Config. Path is the path in the user's YAML below `kubernetes-openstack:cluster`. Message
// states what is wrong and what would be right.
type Error struct {
	Path, Message string
}

func (e Error) Error() string { return e.Path + ": " + e.Message }

// Errors contains all errors in a Config, in the order of the Config's fields.
type Errors []Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = "\n  " + err.Error()
	}
	noun := "errors"
	if len(e) == 1 {
		noun = "error"
	}
	return fmt.Sprintf("kubernetes-openstack:cluster has %d %s:%s", len(e), noun, strings.Join(lines, ""))
}

func (e *Errors) add(path, format string, args ...any) {
	*e = append(*e, Error{path, fmt.Sprintf(format, args...)})
}

// covers reports whether e contains an error at path or at one of its parents. A value that cannot be decoded needs no
// second error from Validate.
func (e Errors) covers(path string) bool {
	for _, err := range e {
		if path == err.Path || strings.HasPrefix(path, err.Path+".") || strings.HasPrefix(path, err.Path+"[") {
			return true
		}
	}
	return false
}
