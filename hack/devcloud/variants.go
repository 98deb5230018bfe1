package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// variants are the differences of other clouds from the default devcloud, which --variants selects. Each is a folder,
// whose files are appended to the files of the box in /etc.
//
//go:embed variants
var variants embed.FS

// parseVariants returns the names in a list that commas separate, sorted.
func parseVariants(list string) (names []string, err error) {
	folders, err := variants.ReadDir("variants")
	if err != nil {
		return nil, err
	}
	var known []string
	for _, folder := range folders {
		known = append(known, folder.Name())
	}
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("--variants: must be names of %s, got %q", strings.Join(known, ", "), name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// appendVariant appends the files of a variant to those in the folder etc.
func appendVariant(name, etc string) error {
	root := path.Join("variants", name)
	return fs.WalkDir(variants, root, func(from string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		added, err := variants.ReadFile(from)
		if err != nil {
			return err
		}
		to := filepath.Join(etc, strings.TrimPrefix(from, root))
		content, err := os.ReadFile(to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return replaceFile(to, append(content, added...), 0o644)
	})
}
