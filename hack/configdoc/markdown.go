package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	begin = "<!-- begin of the generated keys: edit comments in cluster/config.go and run go generate ./cluster -->\n"
	end   = "<!-- end of the generated keys -->\n"
)

// insert replaces the text between the two markers.
func insert(document []byte, text string) ([]byte, error) {
	before, rest, found := strings.Cut(string(document), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return nil, fmt.Errorf("document: must contain the lines %q and %q", begin, end)
	}
	return []byte(before + begin + "\n" + text + "\n" + end + after), nil
}

// render returns one table for each section.
func render(sections []Section) string {
	var out strings.Builder
	for i, section := range sections {
		if i > 0 {
			fmt.Fprintf(&out, "\n### %s\n\n%s\n", section.Title, wrap(section.Intro))
		}
		out.WriteString("| key | type | default | meaning | example |\n|---|---|---|---|---|\n")
		for _, key := range section.Keys {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", key.Path, key.Type, cell(key.Default), cell(key.Meaning),
				cell("`"+key.Example+"`"))
		}
	}
	return out.String()
}

// cell escapes the separator of columns.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// wrap breaks a paragraph into lines of at most 120 characters, and ends it with an empty line.
func wrap(text string) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+length > 120:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += length
	}
	return out.String() + "\n"
}
