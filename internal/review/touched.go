package review

import (
	"path"
	"slices"
	"strings"
)

// Touched returns those of stacks whose preview a change of files can affect. A stack's own file affects this stack. A
// file of the program affects all stacks.
func Touched(files, stacks []string) []string {
	var touched []string
	for _, stack := range stacks {
		if slices.ContainsFunc(files, func(file string) bool { return file == "Pulumi."+stack+".yaml" || ofProgram(file) }) {
			touched = append(touched, stack)
		}
	}
	return touched
}

// ofProgram returns true if a file can be a part of the Pulumi program.
func ofProgram(file string) bool {
	folder, _, inFolder := strings.Cut(file, "/")
	switch {
	case strings.HasSuffix(file, ".md"), strings.HasSuffix(file, "_test.go"):
		return false
	case inFolder:
		return !slices.Contains([]string{".ci", ".github", ".gitlab", "docs", "examples", "hack", "tests"}, folder) &&
			!strings.Contains(file, "/testdata/")
	}
	ofStack, _ := path.Match("Pulumi.*.yaml", file)
	return !ofStack && slices.Contains([]string{".go", ".mod", ".sum", ".yaml"}, path.Ext(file))
}
